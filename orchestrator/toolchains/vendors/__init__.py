"""One file a toolchain, of its name: `DESCRIPTOR` says what makes it, and its twin."""
