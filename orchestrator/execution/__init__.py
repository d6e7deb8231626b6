"""Carrying out one step of a plan: inputs out of the store, the work done, the output back."""
