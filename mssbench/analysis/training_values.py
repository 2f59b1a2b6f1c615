"""Values of each training that are computed from its epochs and from changed test data.

What they mean stands in `records.training_values`. A value is NaN where what it needs was not
measured.
"""

from collections.abc import Mapping
from math import nan
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

from mssbench.records.measurement import Status
from mssbench.records.training import MEAN
from mssbench.records.training_tables import OF_CONTROL
from mssbench.records.training_values import LOST, MCE, TRUNCATED, TRUNCATION

if TYPE_CHECKING:
    import pandas as pd

_Errors: TypeAlias = dict[float, float]  # shares of wrong test samples, by severity


def with_values(
    trainings: "pd.DataFrame", curves: "pd.DataFrame", robustness: "pd.DataFrame"
) -> "pd.DataFrame":
    """Return the trainings with a column for each derived value."""
    cells = trainings["cell_id"]
    first = curves[curves["epoch"] == 1].drop_duplicates("cell_id").set_index("cell_id")["accuracy"]
    truncated = robustness[robustness["change"] == TRUNCATION]
    by_share = truncated.drop_duplicates(["cell_id", "severity"]).set_index("cell_id")

    columns = {
        "skipped_share": trainings["skipped"] / trainings["steps"].where(trainings["steps"] > 0),
        "nonfinite_share": trainings["nonfinite_steps"]
        / trainings["steps"].where(trainings["steps"] > 0),
        "first_accuracy": cells.map(first),
        "early_accuracy": cells.map(_early(curves)),
        MCE: _mce(trainings, robustness[robustness["change"] != TRUNCATION]),
    }
    for share, name in TRUNCATED.items():
        accuracy = by_share.loc[by_share["severity"] == share, "accuracy"]
        columns[name] = cells.map(accuracy)
        columns[LOST[share]] = trainings["accuracy"] - columns[name]
    return trainings.assign(**columns)


def _early(curves: "pd.DataFrame") -> "pd.Series":
    """Return the mean accuracy over the first half of the epochs, rounded down, by cell.

    A training of one epoch has that epoch. It is missing if one of these epochs has no accuracy.
    """
    half = (curves["epochs"] // 2).clip(lower=1)
    early = curves[curves["epoch"] <= half]
    by_cell = early.groupby("cell_id")
    known = by_cell["accuracy"].count()
    return by_cell["accuracy"].mean().where(known == half.groupby(curves["cell_id"]).first())


def _mce(trainings: "pd.DataFrame", images: "pd.DataFrame") -> list[float]:
    """Return the mean corruption error of each training, relative to mean pooling, in percent.

    That is the mean over the kinds of change of the sum of the errors over the severities, divided
    by the same sum of mean pooling with the same seed (Hendrycks & Dietterich, ICLR 2019). images:
    the rows of robustness with changed images.
    """
    errors: dict[str, dict[str, _Errors]] = {}  # by cell and kind of change
    named = images[["cell_id", "change", "severity", "accuracy"]]
    for cell, kind, severity, accuracy in named.itertuples(index=False):
        errors.setdefault(cell, {}).setdefault(kind, {})[severity] = 1 - accuracy

    keys = list(trainings[list(OF_CONTROL)].itertuples(index=False, name=None))
    is_control = (trainings["forward"] == MEAN) & (trainings["status"] == Status.OK)
    cells = trainings["cell_id"].tolist()
    controls = {
        key: cell for key, cell, is_mean in zip(keys, cells, is_control, strict=True) if is_mean
    }
    return [
        _relative(errors.get(cell, {}), errors.get(controls.get(key, ""), {}))
        for key, cell in zip(keys, cells, strict=True)
    ]


def _relative(own: Mapping[str, _Errors], control: Mapping[str, _Errors]) -> float:
    """Return the mean over the kinds of the ratio of summed errors, in percent.

    NaN if a kind or a severity is missing on one side, or if mean pooling makes no error.
    """
    alike = own.keys() == control.keys() and all(own[k].keys() == control[k].keys() for k in own)
    if not own or not alike:
        return nan
    sums = [(sum(own[kind].values()), sum(control[kind].values())) for kind in own]
    return fmean(100 * mine / theirs if theirs else nan for mine, theirs in sums)
