"""ONNX graphs: what a file is, exact edits, preparation. Below calibration and toolchains."""
