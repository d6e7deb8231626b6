"""The table of stages. A new one is a file of this folder and a line here.

What plan, scheduler and estimate know of it is its line in `planning/stage_facts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.stages import (
    calibrate,
    compare,
    convert,
    deploy,
    extract,
    images,
    measure,
    parity,
    quantize,
    score,
)
from orchestrator.stages.stage import Stage

STAGES: Mapping[str, Stage] = {
    module.STAGE.name: module.STAGE
    for module in (
        images,
        calibrate,
        quantize,
        convert,
        deploy,
        measure,
        extract,
        parity,
        score,
        compare,
    )
}
