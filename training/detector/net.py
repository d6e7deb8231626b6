"""The detector: plain 3 x 3 convolutions with ReLU and a few residual sums; SCRFD's outputs.

No feature pyramid: at 240 x 320 the last map has 8 rows and the one before 15, which no whole
factor joins, and a graph without Resize is one that every toolchain takes.
"""

import torch
from torch import nn

STRIDES, ANCHORS = (8, 16, 32), 2
HEIGHT, WIDTH = 240, 320
PARTS = (("score", 1), ("bbox", 4), ("kps", 10))


def cells(stride: int) -> tuple[int, int]:
    """Rows and columns of a map: a padded convolution of stride 2 rounds half a side up."""
    return -(-HEIGHT // stride), -(-WIDTH // stride)


def conv(c_in: int, c_out: int, stride: int = 1) -> nn.Sequential:
    """Convolution, BatchNormalization (folded on export) and ReLU."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()
    )


class Residual(nn.Module):
    """x + ReLU(BN(Conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = conv(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 (n, width, h, w) in and out."""
        return x + self.conv(x)


class Detector(nn.Module):
    """uint8 levels as (x - 127.5) / 128 in; per stride scores (logits), distances and points."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [
                nn.Sequential(
                    *(conv(3, 16, 2), conv(16, 24, 2), conv(24, 48, 2)),
                    *(Residual(48) for _ in range(3)),
                ),
                nn.Sequential(conv(48, 48, 2), Residual(48), conv(48, 48)),
                nn.Sequential(conv(48, 48, 2), conv(48, 48)),
            ]
        )
        self.heads = nn.ModuleList(
            nn.ModuleDict({n: nn.Conv2d(48, ANCHORS * k, 3, 1, 1) for n, k in PARTS})
            for _ in STRIDES
        )
        for head in self.heads:
            nn.init.constant_(head["score"].bias, -4.0)
            nn.init.constant_(head["bbox"].bias, 2.0)

    def forward(self, x: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        """Per stride: (n, cells x 2, 1), (n, cells x 2, 4), (n, cells x 2, 10)."""
        found = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x)
            found.append(
                tuple(head[n](x).permute(0, 2, 3, 1).reshape(len(x), -1, k) for n, k in PARTS)
            )
        return found
