"""How often the 95 % intervals hold the true value, by simulation from a known population.

Each simulated test set is a fresh draw of identities from a population whose true Rank-1 and TAR
are known from a sample of two million. `python -m benchmarks coverage` draws 400 test sets a row
(about two minutes; a coverage of 95 % is then seen as 95 +- 2.1), `--full` draws 2,000.
"""

from __future__ import annotations

import argparse

import numpy as np

from orchestrator.scoring import Searches, compare, identify

SEED = 20240501
RESAMPLES = 300


def faces(
    rng: np.random.Generator, mated: int, unknown: int, each: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mate scores, best impostors and identities; an identity's probes share half the variance."""
    size = mated + unknown
    identity = np.arange(size) // each
    shared = 0.5 if each > 1 else 0.0

    def normal() -> np.ndarray:
        own = rng.standard_normal(size)
        common = rng.standard_normal(size // each + 1)[identity]
        return np.sqrt(1 - shared) * own + np.sqrt(shared) * common

    mate = 0.55 + 0.17 * normal()
    impostor = 0.33 + 0.035 * -np.log(rng.exponential(size=size)) + 0.03 * normal()
    mate[mated:] = np.nan
    return mate, impostor, identity


def searches(mate: np.ndarray, impostor: np.ndarray, identity: np.ndarray) -> Searches:
    """As a search would have left them."""
    return Searches(
        mate.astype(np.float32),
        impostor.astype(np.float32),
        ~np.isnan(mate),
        np.zeros(mate.size, bool),
        identity.astype(np.int64),
        None,
        int(np.count_nonzero(~np.isnan(mate))),
    )


def board(
    rng: np.random.Generator, mate: np.ndarray, impostor: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same probes on a board whose scores are a little noisier and lower."""
    noise = 0.02 * rng.standard_normal((2, mate.size))
    return mate - 0.01 + noise[0], impostor + noise[1]


def rates(mate: np.ndarray, impostor: np.ndarray, far: float) -> tuple[float, float]:
    """Rank-1 and TAR of a population."""
    known = ~np.isnan(mate)
    edge = np.quantile(impostor, 1 - far)
    hit = mate[known] > impostor[known]
    return float(hit.mean()), float((hit & (mate[known] > edge)).mean())


def cover(mated: int, unknown: int, each: int, far: float, sets: int) -> dict[str, float]:
    """Share of test sets whose interval holds the truth, for each kind of interval."""
    rng = np.random.default_rng([SEED, mated, unknown, each, int(1 / far)])
    scale = 2_000_000 // (mated + unknown)
    mate, impostor, _ = faces(rng, mated * scale, unknown * scale, 1)
    rank1, tar = rates(mate, impostor, far)
    other = rates(*board(rng, mate, impostor), far)
    held = {"Rank-1": 0, "TAR": 0, "Rank-1 difference": 0, "TAR difference": 0}
    low = {"TAR too low": 0, "TAR too high": 0}
    width = 0.0
    for seed in range(sets):
        mate, impostor, identity = faces(rng, mated, unknown, each)
        first = searches(mate, impostor, identity)
        second = searches(*board(rng, mate, impostor), identity)
        figures = identify(first, far=(far,), seed=seed, bootstrap=RESAMPLES)
        found = compare(first, second, far=(far,), seed=seed, bootstrap=RESAMPLES)
        shown = figures.tar[far]
        low["TAR too low"] += shown.high < tar
        low["TAR too high"] += shown.low > tar
        width += shown.high - shown.low
        for name, interval, truth in (
            ("Rank-1", figures.rank1, rank1),
            ("TAR", shown, tar),
            ("Rank-1 difference", found.rank1_difference, other[0] - rank1),
            ("TAR difference", found.tar_difference[far], other[1] - tar),
        ):
            held[name] += interval.low <= truth <= interval.high
    return {name: count / sets for name, count in (held | low).items()} | {"width": width / sets}


ROWS = (
    # mated, unknown, probes an identity, FAR
    (3_000, 1_000, 1, 1e-3),
    (3_000, 1_000, 1, 1e-2),
    (1_000, 1_000, 1, 1e-3),
    (500, 500, 1, 1e-3),
    (3_000, 1_000, 5, 1e-3),
    (3_000, 1_000, 5, 1e-2),
    (20_000, 20_000, 1, 1e-3),
)


def main() -> None:
    """Print a line a kind of interval and test set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="2,000 test sets a row")
    parser.add_argument("--row", type=int, default=None, help="only this row, from 0")
    chosen = parser.parse_args()
    for mated, unknown, each, far in ROWS if chosen.row is None else [ROWS[chosen.row]]:
        sets = 2_000 if chosen.full else 400
        sets = sets // 8 if mated > 10_000 else sets
        shares = cover(mated, unknown, each, far, sets)
        k = int(far * (mated + unknown) + 1e-9)
        where = f"{mated:,} mated + {unknown:,} unknown, {each} an identity, FAR {far:g}, K = {k}"
        for name in ("Rank-1", "TAR", "Rank-1 difference", "TAR difference"):
            aside = ""
            if name == "TAR":
                aside = f", truth above {shares['TAR too low']:.1%}, below "
                aside += f"{shares['TAR too high']:.1%}, mean width {shares['width']:.3f}"
            print(
                f"coverage of {name} ({where}, {sets} sets, seed {SEED}): "
                f"{shares[name]:.1%}{aside} (goal 93 to 97 %)",
                flush=True,
            )


if __name__ == "__main__":
    main()
