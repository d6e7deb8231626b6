"""What a model file is: inputs, outputs, embedding size, parameters."""

from orchestrator.graphs.describe import ModelInfo, TensorInfo, describe_model

__all__ = ["ModelInfo", "TensorInfo", "describe_model"]
