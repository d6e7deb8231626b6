"""Train: python train.py MODEL FOLDER OUT.pt [STEPS]

Fixed seeds, a fixed order of batches and a fixed number of steps; one thread. A checkpoint is
written every 100 steps; if OUT.pt is there, training goes on from it.
"""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from net import network
from recipes import BATCH, MEAN, RECIPES, Recipe
from torch import nn

LR, WARM_UP, SAVE_EVERY = 3e-3, 30, 100
SCALE, MARGIN = 24, 0.15  # CosFace's s and m
WEIGHTS = (4.0, 0.35)  # of the error of traits, and of CosFace
RELIEF, RELIEF_WEIGHT = 64, 0.6  # the last traits, and their weight among traits


class Trainer(nn.Module):
    """The network with what only training needs: a reading of traits, a centre an identity."""

    def __init__(self, name: str, traits: torch.Tensor) -> None:
        super().__init__()
        size = RECIPES[name].embedding_size
        self.net = network(name)
        self.reading = nn.Linear(size, traits.shape[1])
        self.centres = nn.Parameter(torch.randn(len(traits), size) * 0.1)
        self.register_buffer("traits", traits, persistent=False)
        weight = torch.ones(traits.shape[1])
        weight[-RELIEF:] = RELIEF_WEIGHT
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, x: torch.Tensor, who: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The squared error of the traits read from features, and CosFace (Wang et al., 2018)."""
        features = self.net(x)
        error = ((self.reading(features) - self.traits[who]) ** 2 * self.weight).mean()
        cosine = F.normalize(features) @ F.normalize(self.centres).T
        own = F.one_hot(who, len(self.centres))
        return error, F.cross_entropy(SCALE * (cosine - MARGIN * own), who)


def rate(step: int, steps: int) -> float:
    """Learning rate: a short rise, then half a cosine down."""
    falling = 0.5 + 0.5 * math.cos(math.pi * step / steps)
    return LR * min(1, (step + 1) / WARM_UP) * falling + 1e-5


def batch_rows(step: int, faces: int) -> np.ndarray:
    """Rows of a step's faces, each pass in its own order; ascending, as files are read best."""
    each = faces // BATCH
    order = np.random.default_rng(1 + step // each).permutation(faces)
    at = step % each * BATCH
    return np.sort(order[at : at + BATCH])


def save(trainer: Trainer, opt: torch.optim.Optimizer, step: int, seconds: float, to: Path) -> None:
    """Replace the checkpoint."""
    state = {"trainer": trainer.state_dict(), "opt": opt.state_dict()}
    torch.save(state | {"step": step, "seconds": seconds}, to.with_suffix(".tmp"))
    to.with_suffix(".tmp").replace(to)


def main(name: str, folder: Path, out: Path, steps: int) -> None:
    """Train `steps` steps, those of earlier calls included."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    recipe: Recipe = RECIPES[name]
    faces = np.load(folder / "faces.npy", mmap_mode="r")
    labels = torch.from_numpy(np.load(folder / "labels.npy"))
    trainer = Trainer(name, torch.from_numpy(np.load(folder / "traits.npy")))
    trainer = trainer.to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(trainer.parameters(), LR, weight_decay=1e-4)
    first, before = 0, 0.0
    if out.exists():
        state = torch.load(out)
        trainer.load_state_dict(state["trainer"])
        opt.load_state_dict(state["opt"])
        first, before = state["step"], state["seconds"]
    start = time.process_time()
    print(f"{len(faces):,} faces, steps {first} to {steps}", flush=True)
    for step in range(first, steps):
        rows = batch_rows(step, len(faces))
        x = (torch.from_numpy(faces[rows]).float() - MEAN) / recipe.std
        error, cosface = trainer(x.contiguous(memory_format=torch.channels_last), labels[rows])
        for group in opt.param_groups:
            group["lr"] = rate(step, steps)
        opt.zero_grad()
        (WEIGHTS[0] * error + WEIGHTS[1] * cosface).backward()
        opt.step()
        seconds = before + time.process_time() - start
        if (step + 1) % 25 == 0:
            shown = f"traits {error.item():.3f}, CosFace {cosface.item():.3f}"
            print(f"{step + 1} {seconds:.0f} s: {shown}", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save(trainer, opt, step + 1, seconds, out)


if __name__ == "__main__":
    model = sys.argv[1]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else RECIPES[model].steps
    main(model, Path(sys.argv[2]), Path(sys.argv[3]), count)
