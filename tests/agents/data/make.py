"""Makes the files beside it, by Tengine's own tools: `FARM_TENGINE_BIN_DIR=... python make.py`.

A small net with random weights, as ONNX and as the two tmfiles of it, each with the interface that
the toolchain's manifest states. They were made with convert_tool and quant_tool_uint8 built from
Tengine's branch tengine-lite, commit c73708ce.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[2]))

from orchestrator.calibration import calibrate  # noqa: E402
from orchestrator.specs.artifact import ArtifactInterface  # noqa: E402
from orchestrator.toolchains import Scheme, toolchain  # noqa: E402
from tests.toolchains import nets  # noqa: E402


def main() -> None:
    """Write small.onnx and, for each scheme, small-*.tmfile and small-*.json."""
    net = nets.Net()
    pooled = net.node(
        "MaxPool", "pool", [net.conv("conv", "data", 3, 8)], kernel_shape=[4, 4], strides=[4, 4]
    )
    model = net.model(net.gemm("fc", net.node("Flatten", "flat", [pooled]), 128, 32))
    (HERE / "small.onnx").write_bytes(model)
    images = np.random.default_rng(7).integers(0, 256, (32, 16, 16, 3), dtype=np.uint8)
    values = ((images.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2).copy()
    chain = toolchain("tengine")
    for scheme in (
        Scheme("float32"),
        Scheme("uint8", "per-tensor", "asymmetric", "minmax"),
    ):
        table = None if scheme.is_float else calibrate(model, [values], "minmax")
        made = chain.convert(chain.quantize(model, table, scheme).data)
        facts = ArtifactInterface.of(made.manifest, "the tmfile").to_json()
        (HERE / f"small-{scheme.dtype}.tmfile").write_bytes(made.data)
        (HERE / f"small-{scheme.dtype}.json").write_text(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
