"""Noise decides: what is a tie, what may win, and what a reader is told about it."""

import pytest
from helpers.tables import CELL, frame, row

from mssbench.analysis import claims, conclusions
from mssbench.analysis.blocks import blocks
from mssbench.measure.clock_order import in_order
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, Status
from mssbench.records.noise import ABOVE_CEILING, MEANING
from mssbench.records.timing import Timing

CLAIM = {"claim": "c", "source": "s", "value": "seconds_median", "relation": "<"}
FACTS = {"environments": {}, "runs": {}}


def measured(clock: str, seconds: float, cache: str = "hot") -> Measurement:
    timing = Timing((seconds,) * 3, 1, seconds)
    values = {"flags": ""}
    return Measurement(Cell(**CELL), "forward", clock, cache, Status.OK, "", values, timing)


def flagged(*found: Measurement) -> list[str]:
    return [m.clock for m in in_order(found) if "clock_order" in m.row()["flags"]]


def test_a_device_cannot_take_longer_than_its_caller_waits() -> None:
    in_turn = measured("wall", 3e-3), measured("gpu", 2e-3), measured("graph", 1e-3)
    assert flagged(*in_turn) == []
    assert flagged(measured("wall", 1e-3), measured("gpu", 1.04e-3)) == []  # two clocks, one time
    assert flagged(measured("wall", 1e-3), measured("gpu", 1.1e-3)) == ["wall", "gpu"]
    assert flagged(measured("gpu", 1e-6), measured("graph", 2.5e-6)) == []  # what clocks resolve
    assert flagged(measured("wall", 9e-3), measured("gpu", 1e-3), measured("graph", 2e-3)) == [
        "gpu",
        "graph",
    ]
    # a cold call is longer than a warm one, and no evidence
    assert flagged(measured("wall", 1e-3), measured("gpu", 5e-3, "cold")) == []


def best(*rows: dict) -> set[str]:
    (block,) = blocks(frame(*rows))
    return {key[0] for key, entries in block.entries.items() for e in entries.values() if e.best}


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("noise", "slower", "tied"),
    [
        ("quiet", 1.02, True),
        ("quiet", 1.04, False),
        ("noisy", 1.09, True),
        ("noisy", 1.11, False),
        ("unstable", 1.29, True),
        ("unstable", 1.31, False),
    ],
)
def test_what_the_noise_hides_is_a_tie(noise: str, slower: float, tied: bool) -> None:
    rows = row(1.0), row(slower, forward="svd", noise=noise)
    assert best(*rows) == ({"torch/eigh", "torch/svd"} if tied else {"torch/eigh"})
    claim = CLAIM | {"left": "forward == 'eigh'", "right": "forward == 'svd'"}
    (found,) = claims.judge_claims([claim], frame(*rows))
    assert (found.verdict == claims.ClaimVerdict.HOLDS) is not tied


def test_what_is_too_fast_beside_other_work_keeps_its_time_and_cannot_win() -> None:
    rows = row(1.0), row(0.1, forward="svd", flags=f"loaded {ABOVE_CEILING}")
    assert best(*rows) == {"torch/eigh"}
    (block,) = blocks(frame(*rows))
    (entry,) = block.entries["torch/svd",].values()
    assert (entry.value, entry.ok, entry.words) == (0.1, False, ABOVE_CEILING)
    claim = CLAIM | {"left": "forward == 'svd'", "right": "forward == 'eigh'"}
    (found,) = claims.judge_claims([claim], frame(*rows))
    assert found.verdict != claims.ClaimVerdict.HOLDS


def test_a_tie_is_not_called_faster() -> None:
    rows = row(1.0, root=1e-6, noise="quiet"), row(0.99, forward="svd", root=1e-3)
    (sentence,) = conclusions.conclusions(frame(*rows))
    assert "Faster" not in sentence
    (sentence,) = conclusions.conclusions(
        frame(row(1.0, root=1e-6), row(0.9, forward="svd", root=1e-3))
    )
    assert "Faster: torch/svd, 0.90x" in sentence


def test_a_reader_is_told_what_the_times_are_worth() -> None:
    calm = frame(row(1.0, noise="quiet"))
    assert conclusions.steadiness(calm, FACTS) == []
    shaken = frame(row(1.0, noise="unstable", flags="loaded"), row(1.0, forward="svd"))
    unstable, loaded = conclusions.steadiness(shaken, FACTS)
    assert unstable.startswith("~ unstable (1 of 2 rows)")
    assert loaded == f"loaded (1 of 2 rows): {MEANING['loaded']}."
    facts = FACTS | {"runs": {"r" * 12: {"drift": 0.21}}}
    assert conclusions.steadiness(calm, facts)[0].startswith("drift 21 %")
    assert conclusions.steadiness(calm, FACTS | {"runs": {"r" * 12: {"drift": 0.09}}}) == []


def test_an_unstable_time_is_marked() -> None:
    (block,) = blocks(frame(row(1e-3, noise="unstable"), row(2e-3, forward="svd", noise="quiet")))
    assert {block.written(e) for r in block.entries.values() for e in r.values()} == {
        "~1.00 ms",
        "2.00 ms",
    }


def test_two_clocks_may_differ_by_a_twentieth_and_two_microseconds() -> None:
    for whole in (1e-6, 1e-3):
        most = 1.05 * whole + 2e-6
        assert flagged(measured("wall", whole), measured("gpu", most - 1e-8)) == []
        assert flagged(measured("wall", whole), measured("gpu", most + 1e-8)) == ["wall", "gpu"]
