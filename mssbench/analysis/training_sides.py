"""The two sides of a claim on trainings: which trainings are compared, and their values by seed."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.analysis.best_rates import BestRate, rates
from mssbench.records import units
from mssbench.records.measurement import Status
from mssbench.records.training import METHOD, SETTING, TRAINING_KEY
from mssbench.results.conditions import why_empty
from mssbench.suite.training_claims import TrainingClaim, one_method, one_setting

if TYPE_CHECKING:
    import pandas as pd


class Side(NamedTuple):
    """The trainings of one side: the name of its method, its rows, and its rate if it is chosen."""

    method: str
    rows: "pd.DataFrame"
    rate: BestRate | None = None


class Unresolved(Exception):  # noqa: N818  (an answer, not a failure)
    """A claim cannot be decided by the trainings; the message says why."""


def side_of(claim: TrainingClaim, name: str, frame: "pd.DataFrame") -> Side:
    """Return a side of a claim, with all trainings that it selects.

    Raises SuiteError if it selects several methods, and Unresolved if it selects no training.
    """
    rows = claim.rows(name, frame)
    if rows.empty:
        condition = getattr(claim, name)
        hint = why_empty(frame, condition) or (why_empty(frame, claim.where) if claim.where else "")
        why = f"No training is selected by {name}.{hint}"
        raise Unresolved(why)
    return Side(one_method(name, rows[list(TRAINING_KEY)].to_dict("records")), rows)


def method_key(side: Side) -> tuple[Any, ...]:
    """Return the columns of the method of a side, with which two sides are told apart."""
    return _settings(side.rows, METHOD)[0]


# Which trainings of the two sides are compared


def at_shared_settings(sides: Sequence[Side]) -> list[Side]:
    """Return the sides with their trainings in the settings that both have.

    A setting is everything that is equal for both sides but the seed. Raises Unresolved if they
    share none.
    """
    settings = [_settings(side.rows) for side in sides]
    shared = set(settings[0]).intersection(*settings[1:])
    if not shared:
        why = (
            "The two sides share no learning rate, or differ in task, epochs, batch, places, "
            "channels, policy or device."
        )
        raise Unresolved(why)
    return [
        side._replace(rows=side.rows[[setting in shared for setting in own]])
        for side, own in zip(sides, settings, strict=True)
    ]


def _settings(rows: "pd.DataFrame", names: Sequence[str] = SETTING) -> list[tuple[Any, ...]]:
    """Return for each training all that must be equal for both sides but the seed."""
    return list(rows[list(names)].itertuples(index=False, name=None))


def at_best_rates(claim: TrainingClaim, sides: Sequence[Side]) -> list[Side]:
    """Return the sides with their trainings at the best learning rate of each.

    Raises SuiteError if a side has several settings besides the rate: one rate would not be the
    best in all of them. Raises Unresolved if a side has no rate at which all trainings count.
    """
    one_setting(row for side in sides for row in side.rows.to_dict("records"))
    return [_at_best_rate(claim, side) for side in sides]


def _at_best_rate(claim: TrainingClaim, side: Side) -> Side:
    """Return a side with its trainings at its best rate, see `best_rates`.

    Raises Unresolved if it has none, or if it is not known for sure.
    """
    found = rates(side.rows, claim.accept)
    if len(found.unknown):
        _refuse_unsound(claim, side._replace(rows=found.unknown), of=len(side.rows))
    if found.best is None:
        _refuse_unsound(claim, side)
        why = f"No learning rate has all seeds of {side.method}."
        raise Unresolved(why)
    at_best = side.rows["learning_rate"] == found.best.rate
    return Side(side.method, side.rows[at_best], found.best)


def by_seed(claim: TrainingClaim, side: Side) -> dict[int, float]:
    """Return the mean value of each seed of a side that has all of its settings.

    Raises Unresolved if trainings do not count or lack the value.
    """
    _refuse_unsound(claim, side)
    rows = side.rows
    missing = sum(not isfinite(value) for value in rows[claim.value].astype(float))
    if missing:
        why = (
            f"The value {claim.value} is missing in {missing} of the {len(rows)} trainings of "
            f"{side.method}."
        )
        raise Unresolved(why)
    settings = len(set(_settings(rows)))
    return {
        int(seed): float(part[claim.value].mean())
        for seed, part in rows.groupby("seed")
        if len(part) == settings
    }


def _refuse_unsound(claim: TrainingClaim, side: Side, of: int | None = None) -> None:
    """Raise Unresolved if trainings of a side have a status that does not count.

    of: how many trainings the side has, if these are not all.
    """
    of = len(side.rows) if of is None else of
    bad = side.rows[~side.rows["status"].isin([Status.OK, *claim.accept])]
    if bad.empty:
        return
    status = bad["status"].iloc[0]
    alike = bad[bad["status"] == status]
    reason = str(alike["reason"].iloc[0] or "").rstrip(".")
    if status == Status.NONFINITE and isfinite(share := float(alike["nonfinite_share"].mean())):
        reason = f"{100 * share:.0f} % of the steps failed"
    some = f" in {len(alike)} of {units.count(of, 'training')}"
    why = f"{side.method} is {status}{some if len(alike) < of else ''}"
    raise Unresolved(f"{why}{': ' if reason else ''}{reason}.")
