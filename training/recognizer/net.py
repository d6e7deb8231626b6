"""The two networks: a slim IResNet, and one of the MobileFaceNet type. Float32 (n, 3, 112, 112) in.

`map` is what the head is fitted on, flattened: float32 (n, 64 * 7 * 7).
"""

from __future__ import annotations

import torch
from recipes import MAP, RECIPES
from torch import nn

WIDTHS, BLOCKS = (8, 24, 48, 64), (1, 2, 2, 1)
MAP_SIZE = MAP[0] * MAP[1] * MAP[2]


class Block(nn.Module):
    """BN, Conv, BN, PReLU, Conv(stride), BN; plus x, or Conv1x1(stride) and BN of x.

    The order of InsightFace's IResNet: the first BN stands before a convolution, where nothing
    can fold it.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, 1, 1, bias=False)
        self.bn2, self.act = nn.BatchNorm2d(c_out), nn.PReLU(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(c_out)
        self.down: nn.Sequential | None = None
        if stride != 1 or c_in != c_out:
            conv = nn.Conv2d(c_in, c_out, 1, stride, bias=False)
            self.down = nn.Sequential(conv, nn.BatchNorm2d(c_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 (n, c_in, h, w) to (n, c_out, h / stride, w / stride)."""
        y = self.act(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y))
        return y + (x if self.down is None else self.down(x))


class IResNet(nn.Module):
    """Slim: blocks 1, 2, 2, 1 at widths 8, 24, 48, 64; then BN, Flatten, Linear, BN."""

    def __init__(self, size: int) -> None:
        super().__init__()
        last = WIDTHS[0]
        self.conv = nn.Conv2d(3, last, 3, 1, 1, bias=False)
        self.bn, self.act = nn.BatchNorm2d(last), nn.PReLU(last)
        blocks: list[Block] = []
        for width, count in zip(WIDTHS, BLOCKS, strict=True):
            for k in range(count):
                blocks.append(Block(last, width, 1 if k else 2))
                last = width
        self.blocks, self.bn_out = nn.Sequential(*blocks), nn.BatchNorm2d(last)
        self.fc, self.features = nn.Linear(MAP_SIZE, size), nn.BatchNorm1d(size)

    def map(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature map, flattened."""
        return self.bn_out(self.blocks(self.act(self.bn(self.conv(x))))).flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features, float32 (n, size)."""
        return self.features(self.fc(self.map(x)))


class Unit(nn.Sequential):
    """Convolution, BatchNormalization (folded on export) and, unless it is linear, PReLU."""

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int = 1,
        stride: int = 1,
        pad: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        conv = nn.Conv2d(c_in, c_out, kernel, stride, pad, groups=groups, bias=False)
        act = [] if linear else [nn.PReLU(c_out)]
        super().__init__(conv, nn.BatchNorm2d(c_out), *act)


class Bottleneck(nn.Module):
    """Wider by 1x1, 3x3 of each channel alone, narrow by a linear 1x1; plus x where shapes fit."""

    def __init__(self, c_in: int, c_out: int, wide: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = c_in == c_out and stride == 1
        self.units = nn.Sequential(
            Unit(c_in, wide),
            Unit(wide, wide, 3, stride, 1, groups=wide),
            Unit(wide, c_out, linear=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float32 (n, c_in, h, w) to (n, c_out, h / stride, w / stride)."""
        return x + self.units(x) if self.residual else self.units(x)


class MobileFaceNet(nn.Module):
    """Patches of 6 x 6 and eight bottlenecks; the tail serves training alone, the file has a
    7 x 7 convolution in its place."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(Unit(3, 24, 6, 4, 1), Bottleneck(24, 24, 48), Bottleneck(24, 40, 48, 2)),
            *(Bottleneck(40, 40, 80) for _ in range(3)),
            *(Bottleneck(40, 64, 96, 2), Bottleneck(64, 64, 128), Bottleneck(64, 64, 128)),
        )
        self.tail = nn.Sequential(Unit(64, 256), Unit(256, 256, 7, groups=256, linear=True))
        self.fc = nn.Linear(256, size)

    def map(self, x: torch.Tensor) -> torch.Tensor:
        """The last feature map, flattened."""
        return self.body(x).flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features while training, float32 (n, size)."""
        return self.fc(self.tail(self.body(x)).flatten(1))


Network = IResNet | MobileFaceNet


def network(name: str) -> Network:
    """The network of a model, with random weights."""
    size = RECIPES[name].embedding_size
    return IResNet(size) if name == "synthface-ir" else MobileFaceNet(size)
