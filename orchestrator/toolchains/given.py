"""What is said of a file that is quantized already."""

UNSAID = "does not say that it takes a file that is quantized already"

TWIN_FACTS = (
    "the given file itself, its scales and zero points as they are",
    "layers outside QDQ pairs in float32; the vendor's runtime may run them in float16",
)
