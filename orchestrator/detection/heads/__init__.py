"""What kinds of raw outputs detectors have, one file each; `registry.py` is the table."""
