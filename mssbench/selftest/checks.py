"""Whether the harness can be trusted here: its checks, what noise excuses, and the conclusion."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log

from mssbench import units
from mssbench.errors import ExitCode
from mssbench.records.noise import DELTA, Noise
from mssbench.records.timing import quantile

_QUIET = DELTA[Noise.QUIET]


class CheckOutcome(StrEnum):
    """How a check ended. Only the last two speak against a run on this machine now."""

    PASSED = "passed"
    WARNING = "warning"  # beyond the limit, for reasons outside of the harness
    UNCLEAR = "unclear"  # beyond the limit on a machine too noisy to tell
    FAILED = "failed"  # beyond the limit by more than noise: the harness is wrong


@dataclass(frozen=True)
class Check:
    """One property that was checked. Numbers are fractions, 0.01 is 1 %; words are statuses."""

    name: str
    outcome: CheckOutcome
    measured: float | str
    limit: float | str  # what it may be at most
    sentence: str
    sense: str = "<"  # of the limit: < at most, > at least, ± either way


@dataclass(frozen=True)
class Report:
    """All checks of one device, with the conclusion."""

    device: str
    checks: tuple[Check, ...]
    floor: float  # see noise_floor
    seconds: float  # how long the checks took

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the check that ended worst; a warning does not count."""
        outcomes = {check.outcome for check in self.checks}
        if CheckOutcome.FAILED in outcomes:
            return ExitCode.FAILED
        if CheckOutcome.UNCLEAR in outcomes:
            return ExitCode.UNCLEAR
        return ExitCode.PASS

    @property
    def conclusion(self) -> str:
        """What to do, in words."""
        failed = [c.name for c in self.checks if c.outcome is CheckOutcome.FAILED]
        unclear = [c.name for c in self.checks if c.outcome is CheckOutcome.UNCLEAR]
        smallest = _percent(detectable(self.floor))
        if failed:
            return (
                f"Do not trust times or statuses taken here: {_named(failed)} failed, and noise "
                "does not explain it. Please report it with `mssbench selftest --json`."
            )
        if unclear:
            return (
                f"Unclear: {_named(unclear)}; the machine is too noisy now. Stop what else is "
                "running (`mssbench doctor` says what it sees), then try again."
            )
        return (
            f"Trust it: {units.count(len(self.checks), 'check')}, none failed. A slowdown of "
            f"{smallest} shows in a single comparison here; smaller ones need more runs."
        )


def noise_floor(ratios: Sequence[float]) -> float:
    """95 % of identical arms differ by less: the 95th percentile of |ln ratio|.

    ratios: of the lower quartiles of one code measured twice, one after the other.
    """
    return quantile(sorted(abs(log(x)) for x in ratios), 0.95)


def detectable(floor: float) -> float:
    """The smallest slowdown that one comparison finds, as a fraction.

    Beyond `floor` it is told from none, with 5 % false alarms; a true one of twice that is beyond
    it in 95 % of comparisons.
    """
    return exp(2 * floor) - 1


def excused(miss: float, floor: float) -> CheckOutcome:
    """The outcome of a time that is beyond its limit by `miss`, relative; negative is within.

    Nothing excuses a harness on a quiet machine. On another, noise explains as much as it is.
    """
    if miss <= 0:
        return CheckOutcome.PASSED
    return CheckOutcome.UNCLEAR if floor > _QUIET and miss <= floor else CheckOutcome.FAILED


def off(
    name: str, error: float, limit: float, floor: float, sentence: str, *, lenient: bool = False
) -> Check:
    """A time that should be 1 of something and is 1 + error.

    lenient: up to three times the limit, or on a noisy machine, it is a warning and no more.
    """
    outcome = excused(abs(error) - limit, floor)
    if (
        lenient
        and outcome is not CheckOutcome.PASSED
        and (abs(error) <= 3 * limit or floor > _QUIET)
    ):
        outcome = CheckOutcome.WARNING
    return Check(name, outcome, error, limit, sentence, "±")


def floor_check(floor: float) -> Check:
    """Whether times mean anything now."""
    limit = DELTA[Noise.NOISY]
    return Check(
        "noise floor",
        CheckOutcome.PASSED if floor <= limit else CheckOutcome.UNCLEAR,
        floor,
        limit,
        "95 % of comparisons of identical code differ by less; the smallest slowdown that one "
        f"comparison finds is {_percent(detectable(floor))}",
    )


def _percent(x: float) -> str:
    return f"{100 * x:.1f} %"


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
