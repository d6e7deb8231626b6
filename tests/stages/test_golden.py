"""What `measure` makes of the same raw times does not change unless its recipe's number does.

Figures are kept under keys that hold the number. When the digest changes, raise "measure" in
`planning/stage_facts.py` and write the new digest here.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np

from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages.conditions import SAMPLES, Conditions
from orchestrator.stages.latency import pack
from tests.stages.test_judging import POLICY, samples, times

EXPECTED = (6, "d30890bd9f9579ab")


def test_figures_of_a_measurement() -> None:
    device = 10_000_000 + 1000 * (np.arange(200) * 7919 % 997)
    seen = samples({}, {"temperature_c": 53.5, "yardstick_ms": 1.0}, {"yardstick_ms": 1.02})
    facts = {"transfer": {"images": 4, "bytes": 400, "seconds": 0.5, "rtt_s": 0.25}, "stable": True}
    made = pack(times(device), Conditions(seen, facts), POLICY, "board", {})
    # Rounded, since sums differ by a last bit between processors.
    text = json.dumps(json.loads(json.dumps(made.facts), parse_float=lambda x: f"{float(x):.9g}"))
    digest = hashlib.sha256(text.encode() + made.files[SAMPLES]).hexdigest()[:16]
    assert (STAGE_FACTS["measure"].recipe, digest) == EXPECTED
