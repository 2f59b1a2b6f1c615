"""Labels of rows: the name of a method, and the status that a row has in comparisons.

The name of a method is a short text with its library, its pair (forward and backward) and its
parameters, such as `torch/pade degree=5 + loewner`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mssbench.records.cell import GPU, parse_options
from mssbench.records.measurement import AnyRow, Row, Status
from mssbench.records.noise import ABOVE_CEILING, OTHER_PRECISION, SHOWN_DELTA, UNVERIFIED
from mssbench.records.schema import error_column

if TYPE_CHECKING:
    import pandas as pd

METHOD = ("library", "forward", "backward", "iterations", "backward_iterations", "options")
_BACKWARD = "backward_"  # prefix of the parameters of a backward
# A text that is written without a name and quotes: neither a number nor a truth value.
_WORD = re.compile(r"(?![+-]?\.?\d+(\.|$)|(true|false)$)[\w.-]+", re.ASCII | re.IGNORECASE)
_MANY_ZEROS = 1e6  # a float from here on is written as a power of ten, if that is exact
# The columns that each label stands for. Tables do not list them as hidden if they show the label.
LABELS = {"backend": METHOD[:2], "pair": METHOD[:3], "method": METHOD}


def with_labels(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the frame with the columns `backend`, `pair` and `method`, which name its methods.

    backend: library and forward, such as torch/eigh. pair: the backward as well, such as
    torch/eigh + loewner. method: the parameters as well.
    """
    if set(LABELS) <= set(frame.columns):
        return frame

    # Labels are computed once per method, of which there are few, and not once per row.
    columns = frame[list(METHOD)]
    methods = columns.drop_duplicates()
    plain = methods.astype(object).where(methods.notna(), None)
    keys = list(plain.itertuples(index=False, name=None))
    labels = _distinguished([_labels(*key) for key in keys], keys)
    named = methods.assign(**{k: [label[i] for label in labels] for i, k in enumerate(LABELS)})

    merged = columns.merge(named, on=list(METHOD), how="left")
    return frame.assign(**{name: merged[name].to_numpy() for name in LABELS})


def with_outcomes(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the frame with its labels and the columns `ended`, `usable` and `error`.

    * `ended`: the status; but `above_ceiling` if the time is shorter than the machine can reach;
      and instead of ok, `unverified` if the reference is too inaccurate to judge a method, or
      `other_precision` if it was not computed in the precision of the row
    * `usable`: whether the row may win a comparison
    * `error`: of the root in a forward, else of the gradient
    """
    forward = frame["phase"] == "forward"
    error = frame[error_column("forward")].where(forward, frame[error_column("step")])
    ended = counted(frame)
    return with_labels(frame).assign(ended=ended, usable=ended == Status.OK, error=error)


def counted(frame: "pd.DataFrame") -> "pd.Series":
    """Return the status that each row has in comparisons, see `ended` of with_outcomes."""
    flags, status = frame["flags"], frame["status"]
    kinds = [str(text) for text in flags.unique()]  # few, even for a large table
    doubted = flags.isin([text for text in kinds if ABOVE_CEILING in text.split()])
    unknown = flags.isin([text for text in kinds if UNVERIFIED in text.split()])
    ok, other = status == Status.OK, frame["computed_in"] != ""
    counts = status.mask(ok & other, OTHER_PRECISION).mask(ok & unknown, UNVERIFIED)
    return counts.mask(doubted, ABOVE_CEILING)


def counts_as_ok(row: Row) -> bool:
    """Whether the status that a row has in comparisons, see `counted`, is ok."""
    flags = (row["flags"] or "").split()
    doubted = {ABOVE_CEILING, UNVERIFIED} & {*flags}
    return bool(row["status"] == Status.OK and not doubted and not row.get("computed_in"))


def label(row: Mapping[str, Any]) -> str:
    """Return the label `method` of one row, such as `torch/eigh + loewner`."""
    return labels(row)["method"]


def have_same_method(one: AnyRow, other: AnyRow) -> bool:
    """Whether two rows have the same method, by its columns.

    Labels are not compared, because each table extends them as far as necessary to distinguish its
    own methods.
    """
    return all(_known(one[name]) == _known(other[name]) for name in METHOD)


def _known(x: Any) -> Any:
    """Return a value, or None if it is missing: None, nan or pandas.NA."""
    try:
        return None if x is None or x != x else x
    except TypeError:  # pandas.NA, whose comparisons have no truth value
        return None


def labels(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of one row by name: `backend`, `pair` and `method`, see `with_labels`."""
    return dict(zip(LABELS, _labels(*(row[name] for name in METHOD)), strict=True))


def _labels(
    library: str, forward: str, backward: str, k: Any, k_backward: Any, options: str
) -> tuple[str, str, str]:
    """Return the labels (backend, pair, method) of a method. k: iterations of the forward.

    For example `torch/pade`, `torch/pade + loewner`, `torch/pade degree=5 trace + loewner`.
    """
    backend = f"{library}/{forward}"
    parameters = parse_options(options)
    of_forward = {n: v for n, v in parameters.items() if not n.startswith(_BACKWARD)}
    of_backward = {
        n.removeprefix(_BACKWARD): v for n, v in parameters.items() if n not in of_forward
    }

    first = " ".join([backend, *([] if k is None else [f"k={k}"]), *_words(of_forward)])
    second = [backward, *([] if k_backward is None else [f"k={k_backward}"]), *_words(of_backward)]
    if backward == "none":
        return backend, backend, first
    return backend, f"{backend} + {backward}", f"{first} + {' '.join(second)}"


def _words(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parameters of one method as words, without those that are `default`.

    A number is written with the name of its parameter. A word is written alone, unless another word
    is left out: then it would be unclear which parameter the word is of. A text that looks like a
    number or several words has a name and quotes.
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
            yield f"{name}={written(v)}"


def written(x: Any) -> str:
    """Return the value of a parameter: `0.5`, but `1e10` for a number with many zeros."""
    short = f"{x:g}".replace("e+", "e") if isinstance(x, float) and abs(x) >= _MANY_ZEROS else ""
    return short if short and float(short) == x else str(x)


def _distinguished(
    labels: Sequence[tuple[str, ...]], keys: Sequence[tuple[Any, ...]]
) -> list[tuple[str, ...]]:
    """Return labels that are unique: to labels that are equal, all key columns are added.

    Labels are equal for a method whose parameters have changed, and for names with special
    characters. keys: the columns METHOD of each label's method.
    """
    counts = Counter(method for *_, method in labels)
    full = [", ".join(f"{name} {x}" for name, x in zip(METHOD, key, strict=True)) for key in keys]
    return [
        (*others, f"{method} ({words})" if counts[method] > 1 else method)
        for (*others, method), words in zip(labels, full, strict=True)
    ]


def where(row: AnyRow) -> str:
    """Return the key of a row without its method, as one line.

    For example `sqrt n=64 b=16 wishart(ratio=2) float32 cpu step wall`.
    """
    clock = f"{row['clock']}-{row['cache']}" if row["clock"] == GPU else row["clock"]
    seed = f" seed={row['seed']}" if row["seed"] else ""
    return (
        f"{row['function']} n={row['size']} b={row['batch']} {row['problem']} {row['precision']} "
        f"{row['device']} {row['phase']} {clock}{seed}"
    )


PHASES = ("forward", "backward", "step")  # in the order in which they are shown


def spoken(name: str, x: Any) -> str:
    """Return a value with its name: `float32`, `batch 64`, `wall clock`, `n = 16`, `k = 5`."""
    if name in ("clock", "cache"):
        return f"{x} {name}"
    if name == "batch":
        return f"batch {'-' if x is None else x}"
    short = {"size": "n", "iterations": "k"}.get(name, name)
    return x if isinstance(x, str) else f"{short} = {'-' if x is None else x}"


def deltas(frame: "pd.DataFrame") -> "pd.Series":
    """Return the relative difference in time that the noise of each row hides; 0 if unknown."""
    return frame["noise"].astype(object).map(SHOWN_DELTA).astype("float64").fillna(0.0)
