"""Identical and slower methods, measured in turn as cells of a run are: ties, and who is slower.

The order of the arms is another one in each round, so that no arm has a place of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import exp, log
from statistics import median
from typing import NamedTuple

from mssbench.errors import RunError
from mssbench.measure.measure import measure
from mssbench.measure.session import Session, Settings
from mssbench.records.cell import Cell
from mssbench.records.noise import DELTA, Noise
from mssbench.records.policy import Policy
from mssbench.selftest import wrong_methods
from mssbench.selftest.checks import Check, CheckOutcome, detectable, noise_floor

_REPORTED = DELTA[Noise.QUIET]  # a difference below this is one that nobody would report
_SETTINGS = Settings(Policy(min_seconds=0.08, max_seconds=0.5, warmup_seconds=0.01, interval=1))
_SIZE, _BATCH = 32, {"cpu": 64, "cuda": 4096}  # a call of a millisecond or so
_ONE, _TWIN, _TRIPLET = wrong_methods.IDENTICAL


class Span(NamedTuple):
    """A row's time: its lower quartile, and the 95 % interval of its median. Seconds."""

    q1: float
    low: float
    high: float


Round = Mapping[str, Span]  # by arm


class Races:
    """Rounds in which every arm is measured once, by clock."""

    def __init__(self, device: str) -> None:
        self.rounds: dict[str, list[Round]] = {}
        self._cell = wrong_methods.cell(_ONE, device, _SIZE, _BATCH[device])
        self._turn = 0
        self._session = Session(_SETTINGS)

    def run(self, count: int) -> None:
        """So many rounds more. Raises RunError where an arm cannot be measured."""
        arms = (*wrong_methods.IDENTICAL, *wrong_methods.SLOWER)
        for _ in range(count):
            self._turn = (self._turn + 1) % len(arms)
            order = (*arms[self._turn :], *arms[: self._turn])
            found = {arm: _spans(self._cell, arm, self._session) for arm in order}
            for clock in found[_ONE]:
                each = {arm: spans[clock] for arm, spans in found.items()}
                self.rounds.setdefault(clock, []).append(each)

    @property
    def floor(self) -> float:
        """The noise floor of this machine, over all clocks."""
        return noise_floor([x for rounds in self.rounds.values() for x in _null_ratios(rounds)])

    def checks(self) -> list[Check]:
        """What is identical must tie, and what is slower must be seen to be."""
        found = []
        for clock, rounds in self.rounds.items():
            where = "" if clock == "wall" else f", {clock}"
            found.append(tie_check(f"identical code{where}", rounds, self.floor))
            found += [slow_check(arm, where, rounds, self.floor) for arm in wrong_methods.SLOWER]
        return found


def told_slower(base: Span, new: Span) -> bool:
    """Whether intervals lie apart, and quartiles by more than anybody would overlook."""
    return new.low > base.high and new.q1 > base.q1 * (1 + _REPORTED)


def tie_check(name: str, rounds: Sequence[Round], floor: float) -> Check:
    """Identical arms must tie in most rounds, and none of them be the slower one by habit."""
    pairs = [(r[_ONE], r[_TWIN]) for r in rounds]
    ties = sum(not told_slower(x, y) and not told_slower(y, x) for x, y in pairs)
    logs = [log(y.q1 / x.q1) for x, y in pairs]
    bias = median(logs)
    scatter = median(abs(x - bias) for x in logs)
    if abs(bias) > max(_REPORTED, 3 * scatter):
        outcome = CheckOutcome.FAILED  # noise has no favourite
    elif 2 * ties > len(pairs):
        outcome = CheckOutcome.PASSED
    else:
        outcome = CheckOutcome.UNCLEAR if floor > _REPORTED else CheckOutcome.FAILED
    said = f"one method under two names ties in {ties} of {len(pairs)} rounds"
    return Check(name, outcome, exp(bias) - 1, _REPORTED, said, "±")


def slow_check(arm: str, where: str, rounds: Sequence[Round], floor: float) -> Check:
    """A slower arm must be told slower in most rounds, and by at least half of what it is."""
    share = wrong_methods.SLOWER[arm]
    seen = sum(told_slower(r[_ONE], r[arm]) for r in rounds)
    slower = median(r[arm].q1 / r[_ONE].q1 for r in rounds) - 1
    if 2 * seen > len(rounds) and slower >= share / 2:
        outcome = CheckOutcome.PASSED
    else:
        outcome = CheckOutcome.UNCLEAR if share <= detectable(floor) else CheckOutcome.FAILED
    name, said = (
        f"{100 * share:g} % slower{where}",
        f"told slower in {seen} of {len(rounds)} rounds",
    )
    return Check(name, outcome, slower, share / 2, f"{said}; the median", ">")


def _null_ratios(rounds: Sequence[Round]) -> list[float]:
    """Quartile over quartile, of every two identical arms of a round."""
    pairs = ((_ONE, _TWIN), (_TWIN, _TRIPLET), (_TRIPLET, _ONE))
    return [r[x].q1 / r[y].q1 for r in rounds for x, y in pairs]


def _spans(cell: Cell, arm: str, session: Session) -> dict[str, Span]:
    """By clock, the time of an arm whose cache is as its last call left it."""
    found = {}
    for row in measure(replace(cell, forward=wrong_methods.forward(arm)), session).measurements:
        if row.cache != "hot" or row.clock == "graph":
            continue
        if row.timing is None:
            raise RunError(f"{row.cell}: {row.status}: {row.reason}")
        s = row.timing.statistics()
        found[row.clock] = Span(s["seconds_q1"], s["seconds_low"], s["seconds_high"])
    return found
