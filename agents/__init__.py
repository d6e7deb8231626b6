"""The board agent: standard library only, Python 3.6 or later, shipped as one file."""

VERSION = "1.0"
