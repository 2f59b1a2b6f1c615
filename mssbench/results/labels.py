"""Labels of rows: the name of a method, and the status that a row counts for.

A method is called by its library, pair and parameters, as one word or a short line.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mssbench.records.cell import parse_options
from mssbench.records.measurement import AnyRow, Row, Status
from mssbench.records.noise import ABOVE_CEILING, OTHER_PRECISION, SHOWN_DELTA, UNVERIFIED
from mssbench.records.schema import error_column

if TYPE_CHECKING:
    import pandas as pd

METHOD = ("library", "forward", "backward", "iterations", "backward_iterations", "options")
# The columns that each label contains; tables do not list them as hidden beside it.
_BACKWARD = "backward_"  # before the names of a backward's parameters
_WORD = re.compile(r"(?![+-]?\.?\d+(\.|$)|(true|false)$)[\w.-]+", re.ASCII | re.IGNORECASE)
LABELS = {"backend": METHOD[:2], "pair": METHOD[:3], "method": METHOD}


def with_labels(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Adds `backend` (torch/eigh), `pair` (with its backward) and `method` (with parameters)."""
    if set(LABELS) <= set(frame.columns):
        return frame
    chosen = frame[list(METHOD)]
    kinds = chosen.drop_duplicates()
    plain = kinds.astype(object).where(kinds.notna(), None)
    keys = list(plain.itertuples(index=False, name=None))
    labels = _told_apart([_labels(*key) for key in keys], keys)
    named = kinds.assign(**{k: [each[i] for each in labels] for i, k in enumerate(LABELS)})
    merged = chosen.merge(named, on=list(METHOD), how="left")
    return frame.assign(**{name: merged[name].to_numpy() for name in LABELS})


def with_outcomes(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Adds what a row counts for, beside its labels.

    * `ended`: the status, or `above_ceiling` for a time that cannot be and is not trusted, or
      `unverified` for what seems right, but was compared with a reference that is not known, or
      `other_precision` for what is right, but was not computed in the precision of its row
    * `usable`: whether the row may win a comparison
    * `error`: of what its phase computes, the root in a forward and else the gradient
    """
    forward = frame["phase"] == "forward"
    error = frame[error_column("forward")].where(forward, frame[error_column("step")])
    ended = counted(frame)
    return with_labels(frame).assign(ended=ended, usable=ended == Status.OK, error=error)


def counted(frame: "pd.DataFrame") -> "pd.Series":
    """The status that each row counts for, see `ended` of with_outcomes."""
    flags, status = frame["flags"], frame["status"]
    kinds = [str(text) for text in flags.unique()]  # few, of however many rows
    doubted = flags.isin([text for text in kinds if ABOVE_CEILING in text.split()])
    unknown = flags.isin([text for text in kinds if UNVERIFIED in text.split()])
    ok, other = status == Status.OK, frame["computed_in"] != ""
    counts = status.mask(ok & other, OTHER_PRECISION).mask(ok & unknown, UNVERIFIED)
    return counts.mask(doubted, ABOVE_CEILING)


def counts_as_ok(row: Row) -> bool:
    """Whether `counted` of this one row is ok."""
    flags = (row["flags"] or "").split()
    doubted = {ABOVE_CEILING, UNVERIFIED} & {*flags}
    return bool(row["status"] == Status.OK and not doubted and not row.get("computed_in"))


def label(row: Mapping[str, Any]) -> str:
    """The `method` of one row."""
    return labels(row)["method"]


def have_same_method(one: AnyRow, other: AnyRow) -> bool:
    """Whether two rows have one method, by its columns.

    Their labels do not tell that: each table makes them as long as it needs to tell its own methods
    apart.
    """
    return all(_known(one[name]) == _known(other[name]) for name in METHOD)


def _known(x: Any) -> Any:
    """A value, or None for one that is missing, as pandas may have it."""
    try:
        return None if x is None or x != x else x
    except TypeError:  # pandas.NA, of which no comparison is true or false
        return None


def labels(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the `backend`, `pair` and `method` of one row."""
    return dict(zip(LABELS, _labels(*(row[name] for name in METHOD)), strict=True))


def _labels(
    library: str, forward: str, backward: str, k: Any, k_backward: Any, options: str
) -> tuple[str, str, str]:
    """`torch/pade`, `torch/pade + loewner`, `torch/pade degree=5 trace + loewner`."""
    backend = f"{library}/{forward}"
    given = parse_options(options)
    mine = {name: v for name, v in given.items() if not name.startswith(_BACKWARD)}
    theirs = {name.removeprefix(_BACKWARD): v for name, v in given.items() if name not in mine}
    first = " ".join([backend, *([] if k is None else [f"k={k}"]), *_words(mine)])
    second = [backward, *([] if k_backward is None else [f"k={k_backward}"]), *_words(theirs)]
    if backward == "none":
        return backend, backend, first
    return backend, f"{backend} + {backward}", f"{first} + {' '.join(second)}"


def _words(options: Mapping[str, Any]) -> Iterator[str]:
    """The parameters of one method but for those that are `default`.

    A number needs its name. A word alone says what it is, unless another parameter is a word that
    is left out: then nothing else would tell which of the two it belongs to. What could be taken
    for several words, or for a number, has a name and quotes.
    """
    texts = [v for v in options.values() if isinstance(v, str)]
    named = "default" in texts
    for name, v in options.items():
        if v == "default":
            continue
        if isinstance(v, str) and _WORD.fullmatch(v) and not named:
            yield v
        elif isinstance(v, str):
            yield f"{name}={v if _WORD.fullmatch(v) else json.dumps(v, ensure_ascii=False)}"
        else:
            yield f"{name}={v}"


def _told_apart(
    labels: Sequence[tuple[str, ...]], keys: Sequence[tuple[Any, ...]]
) -> list[tuple[str, ...]]:
    """Labels of which no two methods have the same: those that would have all of their columns.

    They are needed for a method that once had other parameters, and for names that are no words.
    """
    counts = Counter(method for *_, method in labels)
    full = [", ".join(f"{name} {x}" for name, x in zip(METHOD, key, strict=True)) for key in keys]
    return [
        (*others, f"{method} ({words})" if counts[method] > 1 else method)
        for (*others, method), words in zip(labels, full, strict=True)
    ]


def where(row: AnyRow) -> str:
    """`sqrt n=64 b=16 wishart(ratio=2) float32 cpu step wall`: a row's key without its method."""
    clock = f"{row['clock']}-{row['cache']}" if row["clock"] == "gpu" else row["clock"]
    seed = f" seed={row['seed']}" if row["seed"] else ""
    return (
        f"{row['function']} n={row['size']} b={row['batch']} {row['problem']} {row['precision']} "
        f"{row['device']} {row['phase']} {clock}{seed}"
    )


PHASES = ("forward", "backward", "step")  # in the order they are shown


def spoken(name: str, x: Any) -> str:
    """A value that says what it is: `float32`, `batch 64`, `wall clock`, `n = 16`, `k = 5`."""
    if name in ("clock", "cache"):
        return f"{x} {name}"
    if name == "batch":
        return f"batch {'-' if x is None else x}"
    short = {"size": "n", "iterations": "k"}.get(name, name)
    return x if isinstance(x, str) else f"{short} = {'-' if x is None else x}"


def deltas(frame: "pd.DataFrame") -> "pd.Series":
    """Of each row, the relative difference in time that its noise hides; 0 where none is known."""
    return frame["noise"].astype(object).map(SHOWN_DELTA).astype("float64").fillna(0.0)
