"""`farm boards`: the fleet seen, checked, added to, taken from."""
