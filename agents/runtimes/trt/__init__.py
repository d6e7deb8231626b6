"""TensorRT: the bindings, trtexec, and building engines."""
