"""What is known of rendered faces without rendering one."""

RENDERER_VERSION = 1
"""Raised whenever the same numbers would give another picture."""

SIZE = 112
"""Height and width in pixels."""
