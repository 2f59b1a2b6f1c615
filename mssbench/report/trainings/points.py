"""What the figures of trainings draw: one row for each symbol, with its interval and its texts."""

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from mssbench.records import units
from mssbench.records.training_values import TRUNCATION
from mssbench.report.trainings.quantities import (
    AMONG_EPOCHS,
    BETA,
    CHANGED,
    DIFFERENCE,
    PROBED,
    TRUNCATED,
    Quantity,
)

if TYPE_CHECKING:
    import pandas as pd

    from mssbench.report.trainings.reading import Shown

# The columns of a row. `quantity` is what a panel shows and `chart` how it is drawn, see
# quantities.py. `value` and `beside` are texts for the tooltip.
NUMBERS = ("place", "x", "middle", "low", "high", "seeds")
WORDS = ("figure", "quantity", "chart", "method", "ended", "value", "beside")


def points(shown: "Shown") -> "pd.DataFrame":
    """Return the rows of all figures of some runs, with the columns NUMBERS and WORDS."""
    import pandas as pd

    found = [*_curves(shown), *_differences(shown), *_probes(shown), *_robustness(shown)]
    return pd.DataFrame(found, columns=[*NUMBERS, *WORDS])


def _statuses(shown: "Shown") -> dict[tuple[int, str], str]:
    """Return how the trainings of each method ended, by the number of the place."""
    return {
        (number, line.method): ", ".join(line.statuses) or "ok"
        for number, place in enumerate(shown.places)
        for line in place.group.lines
    }


def _row(
    quantity: Quantity, title: str, key: Mapping[str, Any], **values: Any
) -> Iterator[dict[str, Any]]:
    """Yield a row, unless it has nothing that its chart could draw."""
    middle, low, high = (float(values[name]) for name in ("middle", "low", "high"))
    if not _drawable(middle, quantity):
        return
    band = _drawable(low, quantity) and _drawable(high, quantity)
    text = quantity.text(middle)
    if band and low < high:
        text = f"{text} ({quantity.text(low)} to {quantity.text(high)})"
    yield {
        "figure": quantity.figure,
        "quantity": title,
        "chart": quantity.name,
        "value": text,
        "beside": "",
        **key,
        **values,
        "middle": middle,
        "low": low if band else None,
        "high": high if band else None,
    }


def _drawable(x: float, quantity: Quantity) -> bool:
    """Whether a number can be drawn. An axis of powers of ten has no place for 0."""
    return isfinite(x) and (x > 0 or not quantity.log)


def _curves(shown: "Shown") -> Iterator[dict[str, Any]]:
    """Yield accuracy and loss after each epoch: the mean over the seeds, and the extremes."""
    curves, ended = shown.numbered("curves"), _statuses(shown)
    for (place, method, epoch), rows in curves.groupby(["place", "method", "epoch"], sort=False):
        for quantity in AMONG_EPOCHS:
            values = rows[quantity.column].dropna()
            if len(values):
                yield from _row(
                    quantity,
                    quantity.title,
                    {"place": place, "method": method, "ended": ended.get((place, method), "ok")},
                    x=epoch,
                    middle=values.mean(),
                    low=values.min(),
                    high=values.max(),
                    seeds=len(values),
                )


def _differences(shown: "Shown") -> Iterator[dict[str, Any]]:
    """Yield the difference of each method from the exact root, with its 95 % interval."""
    for number, place in enumerate(shown.places):
        for line in place.group.lines:
            if (d := line.difference) is None:
                continue
            rows = _row(
                DIFFERENCE,
                DIFFERENCE.title,
                {"place": number, "method": line.method, "ended": "ok"},
                x=None,
                middle=d.mean,
                low=d.low,
                high=d.high,
                seeds=d.seeds,
            )
            for row in rows:
                yield row | {
                    "value": f"{d.mean:+.3f} ({d.low:+.3f} to {d.high:+.3f}), p {d.p:.2g}",
                    "beside": f"better in {d.wins} of {d.seeds} seeds",
                }


def _probes(shown: "Shown") -> Iterator[dict[str, Any]]:
    """Yield what probes found after each epoch: the median over the seeds, and the extremes.

    The quartiles of β are those over the step sizes, and of these the median over the seeds.
    """
    curves, ended = shown.numbered("curves"), _statuses(shown)
    for (place, method, epoch), rows in curves.groupby(["place", "method", "epoch"], sort=False):
        key = {"place": place, "method": method, "ended": ended.get((place, method), "ok")}
        loss = units.number(rows[PROBED[0].column].median())
        for quantity in PROBED:
            values = rows[quantity.column].dropna()
            if values.empty:
                continue
            low, high = values.min(), values.max()
            if quantity is BETA:
                low, high = rows["beta_low"].median(), rows["beta_high"].median()
            yield from _row(
                quantity,
                quantity.title,
                key | {"beside": f"loss {loss}"},
                x=epoch,
                middle=values.median(),
                low=low,
                high=high,
                seeds=len(values),
            )


def _robustness(shown: "Shown") -> Iterator[dict[str, Any]]:
    """Yield errors by change and severity, and accuracies by the share of truncated eigenvalues.

    At severity 0 stands the result on the unchanged test data, of the same trainings.
    """
    import pandas as pd

    rows = shown.numbered("robustness")
    if rows.empty:
        return
    ended = _statuses(shown)
    trainings = shown.numbered("ended")
    of = ["place", "method", "seed"]
    unchanged = rows[[*of, "change"]].drop_duplicates().merge(trainings[[*of, "accuracy"]], on=of)
    losses = trainings.groupby(["place", "method"])["loss"].mean()
    together = pd.concat([unchanged.assign(severity=0.0), rows], ignore_index=True)

    # Sorted by their numbers alone: the order of the changes is that of the table.
    groups = together.groupby(["place", "change", "method", "severity"], sort=False)
    for (place, change, method, severity), part in groups:
        quantity = TRUNCATED if change == TRUNCATION else CHANGED
        values = part["accuracy"].dropna()
        values = values if quantity is TRUNCATED else 1 - values
        if len(values):
            yield from _row(
                quantity,
                quantity.title if quantity is TRUNCATED else str(change).replace("_", " "),
                {"place": place, "method": method, "ended": ended.get((place, method), "ok")},
                x=severity,
                middle=values.mean(),
                low=values.min(),
                high=values.max(),
                seeds=len(values),
                beside=f"loss {units.number(losses[place, method])}",
            )
