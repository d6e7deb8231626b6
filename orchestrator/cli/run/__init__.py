"""`farm plan`, `run` and `resume`."""
