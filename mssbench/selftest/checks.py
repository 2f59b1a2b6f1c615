"""The checks of `selftest`: their outcomes, allowances for noise, and the conclusion."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, log

from mssbench.errors import ExitCode
from mssbench.records import units
from mssbench.records.noise import DELTA, Noise
from mssbench.records.timing import quantile

_QUIET = DELTA[Noise.QUIET]


class CheckOutcome(StrEnum):
    """The outcome of a check. Only UNCLEAR and FAILED advise against a run on this machine now."""

    PASSED = "passed"
    WARNING = "warning"  # beyond the limit, for reasons outside of the harness
    UNCLEAR = "unclear"  # beyond the limit, on a machine that is too noisy to decide
    FAILED = "failed"  # beyond the limit by more than the noise: the harness is wrong


@dataclass(frozen=True)
class Check:
    """One property that was checked. Numbers are fractions (0.01 is 1 %), texts are statuses."""

    name: str
    outcome: CheckOutcome
    measured: float | str
    limit: float | str  # the limit of `measured`, or the allowed statuses
    sentence: str  # what was measured, for the table
    sense: str = "<"  # kind of limit: < upper, > lower, ± of the absolute value


@dataclass(frozen=True)
class Report:
    """The outcomes of all checks on one device, with the conclusion."""

    device: str
    checks: tuple[Check, ...]
    floor: float  # see noise_floor
    seconds: float  # how long the checks took

    @property
    def exit_code(self) -> ExitCode:
        """The exit code for the worst outcome; a warning does not count."""
        outcomes = {check.outcome for check in self.checks}
        if CheckOutcome.FAILED in outcomes:
            return ExitCode.FAILED
        if CheckOutcome.UNCLEAR in outcomes:
            return ExitCode.UNCLEAR
        return ExitCode.PASS

    @property
    def conclusion(self) -> str:
        """The conclusion in words: whether to trust times taken here, and what to do."""
        failed = [c.name for c in self.checks if c.outcome is CheckOutcome.FAILED]
        unclear = [c.name for c in self.checks if c.outcome is CheckOutcome.UNCLEAR]
        smallest = _percent(detectable(self.floor))

        if failed:
            return (
                f"Do not trust times or statuses taken here: {_named(failed)} failed, and noise "
                "does not explain this. Please report it with `mssbench selftest --json`."
            )
        if unclear:
            return (
                f"Unclear: {_named(unclear)}; the machine is too noisy now. Stop other processes "
                "(`mssbench doctor` reports the load), then try again."
            )
        return (
            f"Trust it: {units.count(len(self.checks), 'check')}, none failed. A slowdown of "
            f"{smallest} is detected by a single comparison here; smaller ones need more runs."
        )


def noise_floor(ratios: Sequence[float]) -> float:
    """Return the noise floor: the 95th percentile of |ln ratio| of identical code.

    ratios: the ratios of the lower quartiles of two consecutive measurements of the same code.
    """
    return quantile(sorted(abs(log(x)) for x in ratios), 0.95)


def detectable(floor: float) -> float:
    """Return the smallest slowdown that a single comparison detects, as a fraction.

    A measured slowdown beyond `floor` is reported, with 5 % false alarms. A true slowdown of twice
    `floor` is measured beyond it in 95 % of the comparisons.
    """
    return exp(2 * floor) - 1


def excused(miss: float, floor: float) -> CheckOutcome:
    """Return the outcome of a check whose error exceeds its limit by `miss`; negative: within it.

    On a quiet machine every excess is a failure. On a noisy one an excess of up to the noise floor
    `floor` is unclear.
    """
    if miss <= 0:
        return CheckOutcome.PASSED
    return CheckOutcome.UNCLEAR if floor > _QUIET and miss <= floor else CheckOutcome.FAILED


def off(
    name: str, error: float, limit: float, floor: float, sentence: str, *, lenient: bool = False
) -> Check:
    """Return the check of a ratio of times that should be 1 and is 1 + error.

    floor: the machine's noise floor. lenient: whether an error of up to three times the limit, or
    any error on a noisy machine, is only a warning.
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
    """Return the check of whether the machine's noise floor is low enough."""
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
