"""Builds the documentation site: `make docs`, or `python -m docs.builder site`."""
