"""Specifications: the YAML files that people write, checked, with errors that name the line.

The public names are here; the modules below are the rooms they live in.
"""

from orchestrator.specs.inventory import Board, Inventory, RuntimeOptions, load_inventory
from orchestrator.specs.kinds import Kind, load_kinds
from orchestrator.specs.manifests import load_models
from orchestrator.specs.matrix import (
    BoardSelector,
    Entry,
    Matrix,
    MeasurementPolicy,
    Rule,
    ScoringPolicy,
    load_matrix,
)
from orchestrator.specs.model import InputSpec, ModelSpec, load_model
from orchestrator.specs.quantization import Quantization, Scheme
from orchestrator.specs.references import check_references
from orchestrator.specs.scenes import ScenesCalibration, ScenesSet
from orchestrator.specs.sets import CalibrationSpec, TestSet
from orchestrator.specs.testset import (
    FolderCalibration,
    FolderSet,
    RenderedCalibration,
    RenderedSet,
)
from orchestrator.specs.transports import (
    EmulatedTransportSpec,
    LocalTransportSpec,
    SshTransportSpec,
)

__all__ = [
    "Board",
    "BoardSelector",
    "CalibrationSpec",
    "EmulatedTransportSpec",
    "Entry",
    "FolderCalibration",
    "FolderSet",
    "InputSpec",
    "Inventory",
    "Kind",
    "LocalTransportSpec",
    "Matrix",
    "MeasurementPolicy",
    "ModelSpec",
    "Quantization",
    "RenderedCalibration",
    "RenderedSet",
    "Rule",
    "RuntimeOptions",
    "ScenesCalibration",
    "ScenesSet",
    "Scheme",
    "ScoringPolicy",
    "SshTransportSpec",
    "TestSet",
    "check_references",
    "load_inventory",
    "load_kinds",
    "load_matrix",
    "load_model",
    "load_models",
]
