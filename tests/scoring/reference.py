"""The definitions, written out plainly: every pair, every sort, no cleverness."""

from __future__ import annotations

import math

import numpy as np


def score(p, g):
    """float32 of the exactly rounded sum of products."""
    return np.float32(math.fsum(float(x) * float(y) for x, y in zip(p, g, strict=True)))


def unit(f):
    norm = math.sqrt(math.fsum(float(x) * float(x) for x in f))
    return (np.asarray(f, np.float64) / norm).astype(np.float32)


def templates(gallery, ids, failed, fusion):
    """identity -> list of unit rows."""
    rows = {}
    for f, name, bad in zip(gallery, ids, failed, strict=True):
        if not bad:
            rows.setdefault(name, []).append(unit(f))
    if fusion == "mean":
        for name, images in rows.items():
            if len(images) > 1:
                rows[name] = [unit(np.mean([x.astype(np.float64) for x in images], axis=0))]
    return rows


def searches(gallery, probes, gallery_ids, probe_ids, gallery_failed, probe_failed, fusion):
    """Per probe: (mate score or None, best impostor or None if failed, rank, all impostors)."""
    rows = templates(gallery, gallery_ids, gallery_failed, fusion)
    result = []
    for f, name, bad in zip(probes, probe_ids, probe_failed, strict=True):
        if bad:
            result.append((None, None, 0, []))
            continue
        p = unit(f)
        of = {other: max(score(p, x) for x in images) for other, images in rows.items()}
        mate = of.pop(name, None)
        others = list(of.values())
        rank = 0 if mate is None else 1 + sum(s >= mate for s in others)
        result.append((mate, max(others, default=np.float32(-np.inf)), rank, others))
    return result


def tar(found, mated, far, trial):
    """(K, false accepts, TPIR) for the trials in the mask ``trial``."""
    impostors = sorted((b for (_, b, _, _), t in zip(found, trial, strict=True) if t), reverse=True)
    k = math.floor(far * len(impostors) + 1e-9)
    edge = impostors[k] if k < len(impostors) else -np.inf
    right = sum(
        m and a is not None and a > b and a > edge
        for (a, b, _, _), m in zip(found, mated, strict=True)
    )
    false = sum(b > edge for b in impostors) if k < len(impostors) else len(impostors)
    return k, false, right / sum(mated)
