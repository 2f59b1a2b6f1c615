"""Judge the claims of a suite of trainings from the tables of its run.

Values are paired: the two sides are compared where the seed and everything else but the method are
equal. Over several learning rates or tasks, the mean of each seed is taken first. The verdict
follows from the 95 % t interval of the mean of left - right over the seeds:

* holds               The whole interval satisfies the relation with the margin.
* does not hold here  No value in the interval satisfies it.
* not resolved        Anything else: some of the interval satisfies it, the seeds are too few, or a
                      side has trainings that do not count or lack the value.

Trainings count if their status is ok, or one that the claim accepts. With `rates = "best"` each
side is taken at its best learning rate, see `best_rates`. Claims are not adjusted for their number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import floor, log10
from typing import TYPE_CHECKING, Any

from mssbench.analysis.best_rates import CAUTION, BestRate
from mssbench.analysis.training_sides import (
    Side,
    Unresolved,
    at_best_rates,
    at_shared_settings,
    by_seed,
    method_key,
    side_of,
)
from mssbench.analysis.training_values import NOT_REACHED, with_values
from mssbench.analysis.trainings import LEAST_SEEDS, Difference, mean_difference
from mssbench.errors import SuiteError
from mssbench.records import units
from mssbench.records.training import TRAINING_KEY, TRAININGS
from mssbench.records.training_values import OF_PROBES
from mssbench.suite.claims import numbered
from mssbench.suite.training_claims import (
    TrainingClaim,
    read,
)

if TYPE_CHECKING:
    import pandas as pd

_LOSS = "probe_loss"  # without it a probe means nothing: an undertrained network looks smooth
_MOST_DECIMALS = 6  # of what is printed: differences of rounding are no more than zero
_TEXT_KEYS = [c.name for c in TRAININGS if c.name in TRAINING_KEY and c.kind == "str"]


class TrainingClaimVerdict(StrEnum):
    """Whether a claim holds in a run of trainings."""

    HOLDS = "holds"
    FAILS = "does not hold here"
    OPEN = "not resolved"
    IMPOSSIBLE = "cannot be measured here"


@dataclass(frozen=True)
class TrainingVerdict:
    """The verdict on one claim of a suite of trainings.

    found: the mean difference with its interval, seeds and wins as a sentence, or the reason why
    there is none. mean, low, high: of left - right; None without a verdict from an interval.
    seeds: how many both sides share. wins: in how many the relation with the margin is satisfied.
    left_rate, right_rate: with `rates = "best"`.
    """

    claim: str
    source: str
    verdict: TrainingClaimVerdict
    found: str
    value: str = ""
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    seeds: int = 0
    wins: int = 0
    left_rate: BestRate | None = None
    right_rate: BestRate | None = None


def judge(
    claims: Sequence[Mapping[str, Any]],
    trainings: "pd.DataFrame",
    curves: "pd.DataFrame",
    robustness: "pd.DataFrame",
) -> list[TrainingVerdict]:
    """Return the verdict on each claim of a suite, as the trainings of a run decide it.

    claims: the [[claim]] tables. The other arguments are the tables of the run. Raises SuiteError,
    which names table and key, for a malformed claim, and for a side that selects two methods.
    """
    texts = {name: trainings[name].astype(object).fillna("") for name in _TEXT_KEYS}
    frame = trainings.assign(**texts).reset_index(drop=True)
    frame, verdicts = with_values(frame, curves, robustness), []
    for number, claim in enumerate(read(claims), 1):
        with numbered(number):
            verdicts.append(_verdict(claim, frame))
    return verdicts


def _verdict(claim: TrainingClaim, frame: "pd.DataFrame") -> TrainingVerdict:
    if claim.cannot:
        impossible = TrainingClaimVerdict.IMPOSSIBLE
        return TrainingVerdict(claim.claim, claim.source, impossible, claim.cannot)
    try:
        return _judged(claim, frame)
    except Unresolved as reason:
        unresolved = TrainingClaimVerdict.OPEN
        return TrainingVerdict(claim.claim, claim.source, unresolved, str(reason), claim.value)


def _judged(claim: TrainingClaim, frame: "pd.DataFrame") -> TrainingVerdict:
    """Return the verdict of the trainings on a claim. Raises Unresolved if they have none."""
    sides = [side_of(claim, name, frame) for name in claim.sides]
    if len({method_key(side) for side in sides}) < len(sides):
        raise SuiteError(f"left and right select the same method, {sides[0].method}.")
    if len({side.method for side in sides}) < len(sides):  # they differ in precision alone
        sides = [
            side._replace(method=f"{side.method} {side.rows['precision'].iloc[0]}")
            for side in sides
        ]
    sides = at_best_rates(claim, sides) if claim.rates == "best" else at_shared_settings(sides)

    values = [by_seed(claim, side) for side in sides]
    left, right = values[0], values[1] if len(values) > 1 else None
    seeds = sorted(left.keys() if right is None else left.keys() & right.keys())
    differences = [
        left[seed] - (right[seed] if right is not None else float(claim.right)) for seed in seeds
    ]
    if len(seeds) < LEAST_SEEDS:
        return TrainingVerdict(
            claim.claim,
            claim.source,
            TrainingClaimVerdict.OPEN,
            _too_few(len(seeds), of_both=right is not None),
            claim.value,
            seeds=len(seeds),
        )

    difference = mean_difference(differences)
    satisfies = _relation(claim)
    wins = sum(map(satisfies, differences))
    rates = [side.rate for side in sides]
    return TrainingVerdict(
        claim.claim,
        claim.source,
        _decided(satisfies, difference),
        " ".join(_sentences(claim, difference, wins, sides, seeds)),
        claim.value,
        difference.mean,
        difference.low,
        difference.high,
        len(seeds),
        wins,
        rates[0],
        rates[1] if len(rates) > 1 else None,
    )


# The verdict and its sentences


def _too_few(seeds: int, *, of_both: bool) -> str:
    """Return the sentence about too few seeds. of_both: whether there are two sides."""
    are = "is" if seeds == 1 else "are"
    if of_both:
        return f"A verdict takes {LEAST_SEEDS} seeds that both sides have, and there {are} {seeds}."
    return f"A verdict takes {LEAST_SEEDS} seeds, and there {are} {seeds}."


def _relation(claim: TrainingClaim) -> Callable[[float], bool]:
    """Return the function that says whether a difference satisfies the relation of a claim."""
    margin = claim.margin
    relations: dict[str, Callable[[float], bool]] = {
        ">": lambda x: x > margin,
        ">=": lambda x: x >= margin,
        "<": lambda x: x < margin,
        "<=": lambda x: x <= margin,
    }
    return relations[claim.relation]


def _decided(satisfies: Callable[[float], bool], difference: Difference) -> TrainingClaimVerdict:
    """Return the verdict of an interval. A relation splits the numbers in two at the margin."""
    ends = {satisfies(difference.low), satisfies(difference.high)}
    if ends == {True}:
        return TrainingClaimVerdict.HOLDS
    return TrainingClaimVerdict.FAILS if ends == {False} else TrainingClaimVerdict.OPEN


def _sentences(
    claim: TrainingClaim,
    difference: Difference,
    wins: int,
    sides: Sequence[Side],
    seeds: Sequence[int],
) -> list[str]:
    """Return what was found: the mean difference with its interval, the wins, and the rates.

    What a reader has to know beside them is added: the losses at which probes were taken, and the
    trainings that did not reach the accuracy of mean pooling. seeds: those that are compared.
    """
    number = "" if isinstance(claim.right, str) else f" from {claim.right:g}"
    beyond = f" {claim.relation} {claim.margin:g}"
    texts = [
        f"{claim.value}: the mean difference{number} is {interval(difference)}; it is{beyond} in "
        f"{wins} of {units.count(difference.seeds, 'seed')}."
    ]
    for side in sides:
        if side.rate is not None:
            edge = ", at the edge of the grid" if side.rate.at_edge else ""
            texts.append(f"Best rate of {side.method}: {side.rate.rate:g}{edge}.")
    if claim.rates == "best":
        texts.append(CAUTION)
    for side in sides:
        rows = side.rows[side.rows["seed"].isin(seeds)]
        if claim.value in OF_PROBES and claim.value != _LOSS:
            median = units.number(rows[_LOSS].median())
            texts.append(f"Median loss at the probe of {side.method}: {median}.")
        missed = int(rows[NOT_REACHED].sum())
        if claim.value == "epochs_to_first_order" and missed:
            texts.append(
                f"{side.method} did not reach the accuracy of mean pooling in {missed} of "
                f"{units.count(len(rows), 'training')}, "
                f"which {'counts' if missed == 1 else 'count'} as {_more_epochs(rows)} epochs."
            )
    return texts


def _more_epochs(rows: "pd.DataFrame") -> str:
    """Return what a training counts that does not reach the accuracy of mean pooling: `9`."""
    numbers = sorted({int(n) + 1 for n in rows.loc[rows[NOT_REACHED], "epochs"]})
    return " and ".join(map(str, numbers))


def interval(difference: Difference) -> str:
    """Return a mean with its interval, as precise as the interval: `+0.018 [+0.009, +0.027]`."""
    half = (difference.high - difference.low) / 2
    size = half or abs(difference.mean)
    decimals = min(max(0, 1 - floor(log10(size))), _MOST_DECIMALS) if size else 3
    numbers = (f"{x:+.{decimals}f}" for x in difference[:3])
    return "{} [{}, {}]".format(*numbers)
