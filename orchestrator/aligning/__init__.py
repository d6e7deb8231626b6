"""Photos into aligned faces: a detector on this computer, then the five-point alignment."""
