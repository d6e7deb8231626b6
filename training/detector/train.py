"""Train: python train.py FOLDER OUT.pt MINUTES

Fixed seeds and a fixed order of batches; the learning rate falls with the clock and training ends
with it, so the number of steps depends on the machine. A checkpoint is written every three minutes;
if OUT.pt is there, training goes on from it.
"""

import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from net import Detector
from targets import Scenes

BATCH, LR, SAVE_EVERY = 16, 2e-3, 180
Parts = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def overlap(d: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes given as distances (n, 4) from the same cell."""
    d = d.clamp(min=0.01)
    low = torch.minimum(d, t)
    inter = (low[:, 0] + low[:, 2]).clamp(min=0) * (low[:, 1] + low[:, 3]).clamp(min=0)
    area_d, area_t = ((b[:, 0] + b[:, 2]) * (b[:, 1] + b[:, 3]) for b in (d, t))
    return inter / (area_d + area_t - inter).clamp(min=1e-3)


def loss_of(net: Detector, batch: list[torch.Tensor]) -> tuple[torch.Tensor, Parts]:
    """Quality focal loss of scores (Li et al., 2020: the target is the box's IoU), IoU and L1 of
    boxes, L1 of points, the last two relative to the face's size."""
    x, light, label, box, kps = batch
    x = (x.float() * light[:, 0, None, None, None] + light[:, 1, None, None, None]).clamp(0, 255)
    found = net(((x - 127.5) / 128).contiguous(memory_format=torch.channels_last))
    score, dist, marks = (torch.cat([m[j] for m in found], 1) for j in range(3))
    score, on, count = score[..., 0], label == 1, (label == 1).sum().clamp(min=1)
    iou = overlap(dist[on], box[on])
    wanted = torch.zeros_like(score)
    wanted[on] = iou.detach().clamp(min=0.1)
    bce = F.binary_cross_entropy_with_logits(score, wanted, reduction="none")
    focal = (wanted - score.sigmoid()).abs() ** 2 * bce * (label >= 0)
    t = box[on]
    size = ((t[:, 0] + t[:, 2]) * (t[:, 1] + t[:, 3])).clamp(min=0.1).sqrt()[:, None]
    l1 = ((dist[on] - t).abs() / size).mean(1)
    known = ~kps[on].isnan()
    off = ((marks[on] - kps[on].nan_to_num()).abs() / size * known).mean(1)
    parts = focal.sum() / count, ((1 - iou) + l1).sum() / count, off.sum() / count
    return parts[0] * 2 + parts[1] + parts[2] * 3, parts


def batches(data: Scenes, first: int) -> torch.utils.data.DataLoader:
    """Batches from number `first` on, each epoch in its own order."""
    n = len(data)
    epochs = range(first * BATCH // n, first * BATCH // n + 400)
    order = np.concatenate([np.random.default_rng(e).permutation(n) + n * e for e in epochs])
    skip = first * BATCH - epochs[0] * n
    return torch.utils.data.DataLoader(data, BATCH, sampler=order[skip:].tolist(), num_workers=1)


def main(folder: str, out: Path, minutes: float) -> None:
    """Train until `minutes` are over, those of earlier calls included."""
    torch.manual_seed(0)
    torch.set_num_threads(2)
    data = Scenes(folder)
    net = Detector().to(memory_format=torch.channels_last)
    opt = torch.optim.AdamW(net.parameters(), LR, weight_decay=1e-4)
    step, before = 0, 0.0
    if out.exists():
        state = torch.load(out)
        net.load_state_dict(state["net"])
        opt.load_state_dict(state["opt"])
        step, before = state["step"], state["seconds"]
    start = saved = time.time()
    print(len(data), "scenes, from step", step, flush=True)
    for batch in batches(data, step):
        seconds = before + time.time() - start
        share = seconds / (60 * minutes)
        for group in opt.param_groups:
            slow = LR * (0.5 + 0.5 * math.cos(math.pi * min(share, 1))) + 1e-5
            group["lr"] = slow * min(1, (step + 1) / 100)
        loss, parts = loss_of(net, batch)
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        opt.step()
        step += 1
        if step % 50 == 0:
            shown = " ".join(f"{p.item():.3f}" for p in (loss, *parts))
            print(f"{step} {seconds:.0f} s, loss, score, box, points: {shown}", flush=True)
        if time.time() - saved > SAVE_EVERY or share >= 1:
            saved = time.time()
            state = {"net": net.state_dict(), "opt": opt.state_dict()}
            torch.save(state | {"step": step, "seconds": seconds}, out.with_suffix(".tmp"))
            out.with_suffix(".tmp").replace(out)
        if share >= 1:
            break


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
