"""The tables of trainings on the page, as texts: they are there also without scripts."""

from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.analysis.trainings import Difference
from mssbench.records import units
from mssbench.records.training import COUNTS, CURVES, TRAININGS
from mssbench.records.training_values import TRUNCATION
from mssbench.report.trainings.quantities import PROBED

if TYPE_CHECKING:
    import pandas as pd

    from mssbench.report.trainings.reading import Shown

MEANINGS = {column.name: column.meaning for column in (*CURVES, *TRAININGS)}


class Head(NamedTuple):
    """The heading of a column. meaning: what a pointer on it shows. number: aligned right."""

    title: str
    meaning: str = ""
    number: bool = True


class Table(NamedTuple):
    """A table of one place. number: that of the place. heads: one for each text of a row."""

    number: int
    title: str
    heads: Sequence[Head]
    rows: Sequence[Sequence[str]]


METHOD = Head("method", "what pools the features, with its parameters", number=False)
_STATUS = Head("status", "how its trainings ended", number=False)


def share(x: Any) -> str:
    """Return a share with three decimals, so that shares can be compared."""
    return f"{x:.3f}" if isfinite(x) else "-"


def whole(x: Any) -> str:
    """Return a whole number."""
    return f"{x:.0f}" if isfinite(x) else "-"


def _percent(x: Any) -> str:
    return f"{100 * x:.0f} %" if isfinite(x) else "-"


def compared_heads() -> list[Head]:
    """Return the headings of the columns of `compared`."""
    return [
        Head("minus the exact root (share)", "mean over the seeds of the paired difference"),
        Head("95 % interval (share)", "t interval of that mean"),
        Head("p", "of the t test, adjusted by Holm for the number of methods"),
        Head("seeds in which it is better"),
    ]


def compared(difference: Difference | None, *, is_reference: bool) -> list[str]:
    """Return the difference of a method from the exact root, its interval, p and its wins.

    is_reference: whether the method is the exact root itself.
    """
    if difference is None:
        return ["reference" if is_reference else "-", "-", "-", "-"]
    d = difference
    interval = f"{d.low:+.3f} to {d.high:+.3f}"
    return [f"{d.mean:+.3f}", interval, f"{d.p:.2g}", f"{d.wins} of {d.seeds}"]


def differences(shown: "Shown") -> Iterator[Table]:
    """Yield for each place the accuracy of each method, and its difference from the exact root."""
    for number, place in enumerate(shown.places):
        group, rows = place.group, []
        is_compared = group.ranked and bool(group.reference)
        for line in group.lines:
            is_reference = line.method == group.reference
            trained = bool(line.accuracies)
            rows.append(
                [
                    line.method,
                    share(line.mean) if trained else "-",
                    share(line.spread) if trained else "-",
                    str(len(line.accuracies)),
                    *(compared(line.difference, is_reference=is_reference) if is_compared else ()),
                    share(line.first),
                    units.number(line.loss),
                    _percent(line.skipped),
                    units.seconds(line.milliseconds / 1e3),
                    _percent(line.root_share),
                    ", ".join(line.statuses) or "ok",
                ]
            )
        heads = [
            METHOD,
            Head("accuracy (share)", "share of the test samples that are right, the mean"),
            Head("spread (share)", "standard deviation of the accuracy over the seeds"),
            Head("seeds"),
            *(compared_heads() if is_compared else ()),
            Head("accuracy after epoch 1 (share)"),
            Head("loss (no unit)", "mean loss over the steps of the last epoch"),
            Head("skipped steps", "the largest share of a training"),
            Head("time per step", "processor time, forward and backward"),
            Head("in the root", "share of it in the forward of the pooling"),
            _STATUS,
        ]
        yield Table(number, place.title, heads, rows)


def probes(shown: "Shown") -> Iterator[Table]:
    """Yield for each place what the probes found, as medians over epochs and seeds."""
    trainings, curves = shown.numbered("ended"), shown.numbered("curves")
    epochs = dict(iter(curves.groupby(["place", "cell_id"])))
    # The quartiles of β stand beside each other.
    columns = {q.column: q.title for q in PROBED}
    heads = [
        Head("training loss (no unit)", MEANINGS["loss"]),
        *(Head(f"{title} (no unit)", MEANINGS[name]) for name, title in columns.items()),
    ]

    def texts(rows: "pd.DataFrame") -> list[str] | None:
        if rows[list(columns)].isna().all(axis=None):
            return None
        keys = zip(rows["place"], rows["cell_id"], strict=True)
        of_method = [epochs[key] for key in keys if key in epochs]
        planned, found = sum(map(len, of_method)), list[str]()
        for name in columns:
            known = sum(int(part[name].notna().sum()) for part in of_method)
            text = units.number(rows[name].median())
            if name == "beta_median" and text != "-":
                low, high = rows["beta_low"].median(), rows["beta_high"].median()
                text = f"{text} ({units.number(low)} to {units.number(high)})"
            if text != "-" and known < planned:
                text = f"{text}, known in {known} of {planned} epochs"
            found.append(text)
        return [units.number(rows["loss"].median()), *found]

    yield from _by_method(shown, trainings, heads, texts)


def robustness(shown: "Shown") -> Iterator[Table]:
    """Yield for each place the errors on changed data, as means over severities and seeds."""
    rows, trainings = shown.numbered("robustness"), shown.numbered("ended")
    for number in range(len(shown.places)):
        of_place = rows[rows["place"] == number]
        changes = [c for c in of_place["change"].unique() if c != TRUNCATION]
        shares = sorted(of_place.loc[of_place["change"] == TRUNCATION, "severity"].unique())
        heads = [
            Head("training loss (no unit)", MEANINGS["loss"]),
            Head("unchanged: error (share)", "share of the test samples that are wrong"),
            *(
                Head(f"{c.replace('_', ' ')}: error (share)", "mean over all severities")
                for c in changes
            ),
            *(
                Head(
                    f"{s:g} % of the eigenvalues zeroed: accuracy (share)",
                    "without the smallest eigenvalues of each covariance",
                )
                for s in shares
            ),
        ]
        of_methods = dict(iter(of_place.groupby("method")))

        def texts(
            part: "pd.DataFrame",
            of_methods: "dict[Any, pd.DataFrame]" = of_methods,
            changes: Sequence[str] = changes,
            shares: Sequence[float] = shares,
        ) -> list[str] | None:
            found = of_methods.get(part["method"].iloc[0])
            if found is None:
                return None
            evaluated = part[part["seed"].isin(found["seed"])]
            kept = {
                key: values.mean()
                for key, values in found.groupby(["change", "severity"])["accuracy"]
            }
            return [
                units.number(evaluated["loss"].mean()),
                share(1 - evaluated["accuracy"].mean()),
                *(share(1 - found.loc[found["change"] == c, "accuracy"].mean()) for c in changes),
                *(share(kept.get((TRUNCATION, s), float("nan"))) for s in shares),
            ]

        of_trainings = trainings[trainings["place"] == number]
        yield from _by_method(shown, of_trainings, heads, texts)


# Why a step failed, in the order in which it is looked for.
_CAUSES = ("nonfinite_loss", "nonfinite_root", "nonfinite_gradient", "exceptions")


def failures(shown: "Shown") -> Iterator[Table]:
    """Yield for each place the methods with a step that was skipped or that failed, and why."""
    titles = {
        "steps": "steps",
        "skipped": "skipped steps",
        "nonfinite_loss": "loss not finite (steps)",
        "nonfinite_root": "root not finite (steps)",
        "nonfinite_gradient": "gradient not finite (steps)",
        "exceptions": "exceptions (steps)",
        "failed": "without a result (test samples)",
    }
    meanings = {column.name: column.meaning for column in COUNTS}
    heads = [
        *(Head(title, meanings[name]) for name, title in titles.items()),
        Head("first skipped (step)", MEANINGS["first_skipped"]),
        Head("first exception", "of the first training that raised one", number=False),
        _STATUS,
        Head("reason", "why a training ended so", number=False),
    ]

    def texts(rows: "pd.DataFrame") -> list[str] | None:
        statuses = [status for status in rows["status"].unique() if status != "ok"]
        counts = rows[["skipped", *_CAUSES, "failed"]].fillna(0).to_numpy().sum()
        if not statuses and not counts:
            return None
        skipped = rows["skipped"].sum()
        sums = {name: whole(rows[name].sum()) for name in titles}
        if steps := rows["steps"].sum():
            sums["skipped"] = f"{skipped:.0f} ({units.digits(100 * skipped / steps)} %)"
        return [
            *sums.values(),
            whole(rows["first_skipped"].min()),
            next(filter(None, rows["exception"]), "-"),
            ", ".join(statuses) or "ok",
            next(filter(None, rows["reason"]), "-"),
        ]

    yield from _by_method(shown, shown.numbered("ended"), heads, texts)


def _by_method(
    shown: "Shown",
    trainings: "pd.DataFrame",
    heads: Sequence[Head],
    texts: "Callable[[pd.DataFrame], list[str] | None]",
) -> Iterator[Table]:
    """Yield a table for each place with a row for each method of which there is something to say.

    texts: returns those of a row, after the method, from the trainings of a method; None for
    nothing to say.
    """
    for number, rows in trainings.groupby("place"):
        found = [(method, texts(part)) for method, part in rows.groupby("method", sort=False)]
        lines = [[str(method), *line] for method, line in found if line is not None]
        if lines:
            title = shown.places[int(number)].title
            yield Table(int(number), title, [METHOD, *heads], lines)
