"""A matrix with all files that it names, as it travels from one computer to another.

`gathering.py` is whoever sends it, `checking.py` whoever receives it: there everything in it is
hostile. Nothing in a bundle is ever executed.
"""
