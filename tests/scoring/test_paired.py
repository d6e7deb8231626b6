"""Board against reference: published p values, paired intervals, many rows at once."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.scoring import ScoringError, compare, holm, mcnemar
from orchestrator.scoring.figures import tar_at
from orchestrator.scoring.paired import corrected_mcnemar, paired_difference
from tests.scoring.test_intervals import searches


@pytest.mark.parametrize(
    ("lost", "gained", "p"), [(10, 2, 0.038574), (5, 5, 1), (0, 0, 1), (60, 30, 0.0020603)]
)
def test_exact_mcnemar(lost, gained, p):
    assert mcnemar(lost, gained) == pytest.approx(p, rel=2e-5)
    assert mcnemar(gained, lost) == mcnemar(lost, gained)


@pytest.mark.parametrize(("lost", "gained", "p"), [(10, 2, 0.043308), (60, 30, 0.0022366)])
def test_corrected_mcnemar(lost, gained, p):
    assert corrected_mcnemar(lost, gained) == pytest.approx(p, rel=2e-5)


def test_the_two_forms_meet_where_one_takes_over():
    assert mcnemar(530, 469) == pytest.approx(corrected_mcnemar(530, 469), rel=0.01)
    assert mcnemar(530, 470) == corrected_mcnemar(530, 470)


def test_paired_difference_of_many_probes():
    first = np.zeros(50_000, bool)
    second = np.zeros(50_000, bool)
    first[:1400] = True
    second[1400:1960] = True
    found = paired_difference(first, second)
    assert found.value == -0.0168
    assert (found.low, found.high) == pytest.approx((-0.018529, -0.015071), abs=3e-6)


def test_boards_that_never_disagree_are_not_certainly_equal():
    same = np.ones(100, bool)
    found = paired_difference(same, same)
    assert found.value == 0
    assert found.low == -found.high < -0.02


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(ScoringError, match="between 0 and 1"):
        holm([0.2, 1.2])


def moved(seed, shift, each=1):
    """A reference and a board that sees the same probes a little worse."""
    first = searches(mated=1500, unknown=1500, each=each, seed=seed)
    rng = np.random.default_rng(seed + 1000)
    second = searches(mated=1500, unknown=1500, each=each, seed=seed)
    second.mate[:] += rng.normal(-shift, 0.01, second.mate.size).astype(np.float32)
    second.impostor[:] += rng.normal(0, 0.01, second.mate.size).astype(np.float32)
    return first, second


@pytest.mark.parametrize("each", [1, 5])
def test_a_real_drop_is_found_and_pairing_sharpens_it(each):
    first, second = moved(2, 0.05, each)
    found = compare(first, second, far=(1e-2,))
    assert found.lost > found.gained
    assert found.p_value < 1e-4
    difference = found.rank1_difference
    assert difference.value == pytest.approx((found.gained - found.lost) / 1500)
    assert difference.low < difference.value < difference.high < 0
    drop = found.tar_difference[1e-2]
    assert drop.value == tar_at(second, 1e-2).value - tar_at(first, 1e-2).value
    assert drop.low <= drop.value <= drop.high < 0
    unpaired = identify_width(first) + identify_width(second)
    assert drop.high - drop.low < 0.6 * unpaired


def identify_width(found):
    from orchestrator.scoring import identify

    tar = identify(found, far=(1e-2,)).tar[1e-2]
    return tar.high - tar.low


def test_clustered_probes_widen_the_interval():
    first, second = moved(3, 0.05)
    alone = compare(first, second, far=(1e-2,)).rank1_difference
    lost = first.hit & ~second.hit
    order = np.argsort(~lost[:1500], kind="stable")  # all losses fall on a few identities
    first.identity[:1500][order] = np.arange(1500) // 10
    second.identity[:] = first.identity
    together = compare(first, second, far=(1e-2,)).rank1_difference
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_other_probes_cannot_be_compared():
    first, second = moved(4, 0.0)
    with pytest.raises(ScoringError, match="3000 probes against 700"):
        compare(first, searches())
    second.identity[7] = 9999
    with pytest.raises(ScoringError, match="probe row 7 is another identity"):
        compare(first, second)
