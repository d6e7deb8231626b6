"""`farm run --remote`: a run on a `farm serve` server that has the boards, watched from here.

Nothing of this is loaded by a run without `--remote`.
"""
