"""Measure identical and slower methods alternately, and check that ties and slowdowns are seen.

An arm is one of these methods: three names of the same code, and two that are slower on purpose.
The arms are measured like the cells of a run. Each round measures every arm once, beginning with
another arm than the round before, so that none is always measured first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, log
from statistics import median
from typing import NamedTuple

from mssbench.errors import RunError
from mssbench.measure.measure import measure
from mssbench.measure.session import Session, Settings
from mssbench.records.cell import GRAPH, HOT, WALL, Cell
from mssbench.records.noise import DELTA, Noise
from mssbench.records.policy import Policy
from mssbench.selftest import wrong_methods
from mssbench.selftest.checks import Check, CheckOutcome, detectable, noise_floor

_REPORTED = DELTA[Noise.QUIET]  # relative difference below which no comparison reports one
# Short measurements, so that many rounds fit into a minute and arms are measured close in time.
_SETTINGS = Settings(Policy(min_seconds=0.08, max_seconds=0.5, warmup_seconds=0.01, interval=1))
_SIZE, _BATCH = 32, {"cpu": 64, "cuda": 4096}  # such that a call takes about a millisecond
_ONE, _TWIN, _TRIPLET = wrong_methods.IDENTICAL


class Span(NamedTuple):
    """The time of a row in seconds: its lower quartile, and the 95 % interval of its median."""

    q1: float
    low: float
    high: float


Round = Mapping[str, Span]  # by arm


class Races:
    """Measures every arm once in each round. `rounds` has the times of all rounds, by clock."""

    def __init__(self, device: str) -> None:
        self.rounds: dict[str, list[Round]] = {}
        self._cell = wrong_methods.cell(_ONE, device, _SIZE, _BATCH[device])
        self._turn = 0
        self._session = Session(_SETTINGS)

    def run(self, count: int) -> None:
        """Measure `count` more rounds. Raises RunError if an arm cannot be measured."""
        arms = (*wrong_methods.IDENTICAL, *wrong_methods.SLOWER)
        for _ in range(count):
            self._turn = (self._turn + 1) % len(arms)
            order = (*arms[self._turn :], *arms[: self._turn])

            spans_of = {arm: _spans(self._cell, arm, self._session) for arm in order}
            for clock in spans_of[_ONE]:
                by_arm = {arm: spans[clock] for arm, spans in spans_of.items()}
                self.rounds.setdefault(clock, []).append(by_arm)

    @property
    def floor(self) -> float:
        """The noise floor of this machine over all clocks, see checks.noise_floor."""
        return noise_floor([x for rounds in self.rounds.values() for x in _null_ratios(rounds)])

    def checks(self) -> list[Check]:
        """Return the checks of whether identical methods tie and slower ones are detected."""
        results = []
        for clock, rounds in self.rounds.items():
            where = "" if clock == WALL else f", {clock}"
            results.append(tie_check(f"identical code{where}", rounds, self.floor))
            results += [slow_check(arm, where, rounds, self.floor) for arm in wrong_methods.SLOWER]
        return results


def told_slower(base: Span, new: Span) -> bool:
    """Whether `new` counts as slower: disjoint intervals, and a relevant change in quartiles."""
    return new.low > base.high and new.q1 > base.q1 * (1 + _REPORTED)


def tie_check(name: str, rounds: Sequence[Round], floor: float) -> Check:
    """Return a check of whether two identical arms tie in most rounds, without a bias.

    name: of the check. floor: the machine's noise floor.
    """
    pairs = [(r[_ONE], r[_TWIN]) for r in rounds]
    ties = sum(not told_slower(x, y) and not told_slower(y, x) for x, y in pairs)
    logs = [log(y.q1 / x.q1) for x, y in pairs]
    bias = median(logs)
    scatter = median(abs(x - bias) for x in logs)

    if abs(bias) > max(_REPORTED, 3 * scatter):
        outcome = CheckOutcome.FAILED  # noise affects both arms alike, so it causes no bias
    elif 2 * ties > len(pairs):
        outcome = CheckOutcome.PASSED
    else:
        outcome = CheckOutcome.UNCLEAR if floor > _REPORTED else CheckOutcome.FAILED

    sentence = f"one method under two names ties in {ties} of {len(pairs)} rounds"
    return Check(name, outcome, exp(bias) - 1, _REPORTED, sentence, "±")


def slow_check(arm: str, where: str, rounds: Sequence[Round], floor: float) -> Check:
    """Return a check of whether a slower arm is reported slower in most rounds.

    The median slowdown must also be at least half of the true one. where: the clock, for the name
    of the check. floor: the machine's noise floor.
    """
    share = wrong_methods.SLOWER[arm]
    seen = sum(told_slower(r[_ONE], r[arm]) for r in rounds)
    slower = median(r[arm].q1 / r[_ONE].q1 for r in rounds) - 1
    if 2 * seen > len(rounds) and slower >= share / 2:
        outcome = CheckOutcome.PASSED
    else:
        outcome = CheckOutcome.UNCLEAR if share <= detectable(floor) else CheckOutcome.FAILED

    name, sentence = (
        f"{100 * share:g} % slower{where}",
        f"reported slower in {seen} of {len(rounds)} rounds",
    )
    return Check(name, outcome, slower, share / 2, f"{sentence}; the median", ">")


def _null_ratios(rounds: Sequence[Round]) -> list[float]:
    """Return the ratio of the times (lower quartiles) of every two identical arms in each round."""
    pairs = ((_ONE, _TWIN), (_TWIN, _TRIPLET), (_TRIPLET, _ONE))
    return [r[x].q1 / r[y].q1 for r in rounds for x, y in pairs]


def _spans(cell: Cell, arm: str, session: Session) -> dict[str, Span]:
    """Measure an arm, and return its time by clock, with a hot cache.

    cell: what to measure, with any method. Raises RunError if the arm failed.
    """
    spans = {}
    for row in measure(replace(cell, forward=wrong_methods.forward(arm)), session).measurements:
        if row.cache != HOT or row.clock == GRAPH:
            continue
        if row.timing is None:
            raise RunError(f"{row.cell}: {row.status}: {row.reason}")
        s = row.timing.statistics()
        spans[row.clock] = Span(s["seconds_q1"], s["seconds_low"], s["seconds_high"])
    return spans
