"""Values of each training that are computed from its epochs and from changed test data.

What they mean stands in `records.training_values`. A value is NaN where what it needs was not
measured.
"""

from collections.abc import Mapping
from math import nan
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeAlias

from mssbench.records.measurement import Status
from mssbench.records.training import MEAN
from mssbench.records.training_tables import OF_CONTROL
from mssbench.records.training_values import LOST, MCE, TRUNCATED, TRUNCATION
from mssbench.results.trainings import TRAINED

if TYPE_CHECKING:
    import pandas as pd

NOT_REACHED = "not_reached"  # column: whether the accuracy of mean pooling was not reached
_Errors: TypeAlias = dict[float, float]  # shares of wrong test samples, by severity


def with_values(
    trainings: "pd.DataFrame", curves: "pd.DataFrame", robustness: "pd.DataFrame"
) -> "pd.DataFrame":
    """Return the trainings with a column for each derived value.

    A training that does not reach the accuracy of mean pooling counts with one epoch more than it
    has: leaving it out would favour methods that often miss it. The column NOT_REACHED marks it.
    """
    cells = trainings["cell_id"]
    first = curves[curves["epoch"] == 1].drop_duplicates("cell_id").set_index("cell_id")["accuracy"]
    truncated = robustness[robustness["change"] == TRUNCATION]
    by_share = truncated.drop_duplicates(["cell_id", "severity"]).set_index("cell_id")

    controls = _controls(trainings)
    reached = trainings["epochs_to_first_order"].astype(float)
    trained = trainings["status"].isin(TRAINED)
    compared = reached.notna()
    compared[:] = [key in controls for key in _keys(trainings)]
    missed = reached.isna() & trained & compared
    columns = {
        "epochs_to_first_order": reached.mask(missed, trainings["epochs"] + 1.0),
        NOT_REACHED: missed,
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

    controls = _controls(trainings)
    return [
        _relative(errors.get(cell, {}), errors.get(controls.get(key, ""), {}))
        for key, cell in zip(_keys(trainings), trainings["cell_id"].tolist(), strict=True)
    ]


def _keys(trainings: "pd.DataFrame") -> list[tuple[Any, ...]]:
    """Return for each training what must be equal for it to be compared with mean pooling."""
    return list(trainings[list(OF_CONTROL)].itertuples(index=False, name=None))


def _controls(trainings: "pd.DataFrame") -> dict[tuple[Any, ...], str]:
    """Return the cells of mean pooling that ended well, by what others must share with them."""
    is_control = (trainings["forward"] == MEAN) & (trainings["status"] == Status.OK)
    of_mean = trainings[is_control]
    return dict(zip(_keys(of_mean), of_mean["cell_id"].tolist(), strict=True))


def _relative(own: Mapping[str, _Errors], control: Mapping[str, _Errors]) -> float:
    """Return the mean over the kinds of the ratio of summed errors, in percent.

    NaN if a kind or a severity is missing on one side, or if mean pooling makes no error.
    """
    alike = own.keys() == control.keys() and all(own[k].keys() == control[k].keys() for k in own)
    if not own or not alike:
        return nan
    sums = [(sum(own[kind].values()), sum(control[kind].values())) for kind in own]
    return fmean(100 * mine / theirs if theirs else nan for mine, theirs in sums)
