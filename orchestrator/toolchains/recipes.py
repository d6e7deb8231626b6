"""What `farm toolchain install` can install: packages that farm's own environment cannot hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How an environment of a toolchain is made.

    Attributes:
        name: the toolchain's.
        package, version: the vendor's distribution.
        title: what it is, in a line.
        licence: who may use it for what, and where the text is.
        gigabytes: what it takes on the disk with a CPU build of torch, and with another.
        pythons: minor versions of Python 3 that have wheels, the best known first.
        machines: processor architectures that have wheels.
        first: requirements installed before the package, which itself comes without those that it
            declares.
        torch: whether it imports torch.
        after_torch: what torch needs, when a CPU build is installed by itself.
    """

    name: str
    package: str
    version: str
    title: str
    licence: str
    gigabytes: tuple[float, float]
    pythons: tuple[int, ...]
    machines: tuple[str, ...]
    first: tuple[str, ...]
    torch: bool
    after_torch: tuple[str, ...]


# The declared pin of torch (<= 2.4) is not enforced, and a plain installation would bring its
# CUDA build; opencv-python, which is declared too, needs a graphics library.
RKNN = Recipe(
    name="rknn",
    package="rknn-toolkit2",
    version="2.5.0",
    title="Rockchip's converter and simulator for RK3588, RK3576, RK3566/68, RK3562, RV1103/06 "
    "and RV1126B",
    licence="RKNN SDK License of Rockchip: for developing applications for Rockchip's products "
    "only; the text is the file LICENSE of its repository airockchip/rknn-toolkit2",
    gigabytes=(1.6, 7.0),
    pythons=(11, 10, 12, 9, 8),
    machines=("x86_64", "aarch64"),
    first=(
        "protobuf>=4.21.6,<=4.25.4",
        "psutil>=5.9",
        "ruamel.yaml>=0.17.21",
        "scipy>=1.9.3",
        "tqdm>=4.64.1",
        "opencv-python-headless<4.12",
        "fast-histogram>=0.11",
        "numpy<=1.26.4",
        "onnx>=1.16.1,<=1.18.0",
        "onnxruntime>=1.17,<1.24",
        "setuptools<80",
    ),
    torch=True,
    after_torch=("filelock", "sympy", "networkx", "jinja2", "fsspec", "typing-extensions"),
)

RECIPES = {recipe.name: recipe for recipe in (RKNN,)}
