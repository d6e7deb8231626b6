"""The audit of a test set: images that repeat, roles that overlap, figures too few to be told.

Import its modules: `words` is light, the others load what hashes images.
"""
