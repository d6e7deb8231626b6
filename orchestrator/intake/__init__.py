"""From a user's ONNX file to the normal form that everything else works on.

The normal form: float32, one image input [1 or open, 3, height, width], one output, all weights
inside the file, an operator set that `graphs.prepare` can bring to every toolchain. One file for
each change; each says what it did, and all of them together are proved: original and normal form
compute the same on the same images. A model that needs no change stays as it is, to the byte.
"""

# Raised when the normal form may differ for the same file; in the name of what is kept of it.
RECIPE = 1
