"""Building the machines that emulated boards may have: recipes, Debian's packages, wrappers."""
