"""What people call a method: its library, pair and parameters, as one word or a short line."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mssbench.records import parse_options

METHOD = ("library", "forward", "backward", "iterations", "backward_iterations", "options")
# What each label says already, so that it is not hidden behind it.
LABELS = {"backend": METHOD[:2], "pair": METHOD[:3], "method": METHOD}


def with_labels(frame: pd.DataFrame) -> pd.DataFrame:
    """Adds `backend` (torch/eigh), `pair` (with its backward) and `method` (with parameters)."""
    if set(LABELS) <= set(frame.columns):
        return frame
    chosen = frame[list(METHOD)]
    kinds = chosen.drop_duplicates()
    labels = [_labels(*key) for key in kinds.itertuples(index=False, name=None)]
    named = kinds.assign(**{k: [each[i] for each in labels] for i, k in enumerate(LABELS)})
    merged = chosen.merge(named, on=list(METHOD), how="left")
    return frame.assign(**{name: merged[name].to_numpy() for name in LABELS})


def label(row: Mapping[str, Any]) -> str:
    """The `method` of one row."""
    return _labels(*(row[name] for name in METHOD))[-1]


def _labels(
    library: str, forward: str, backward: str, k: Any, k_backward: Any, options: str
) -> tuple[str, str, str]:
    """`torch/pade`, `torch/pade + loewner`, `torch/pade degree=5 trace + loewner`."""
    backend = f"{library}/{forward}"
    mine = [] if pd.isna(k) else [f"k={k}"]
    theirs = [] if pd.isna(k_backward) else [f"k={k_backward}"]
    for name, v in parse_options(options).items():
        if v != "default":  # a word alone says what it is; a number needs its name
            word = v if isinstance(v, str) else f"{name.removeprefix('backward_')}={v}"
            (theirs if name.startswith("backward_") else mine).append(word)
    first = " ".join([backend, *mine])
    if backward == "none":
        return backend, backend, first
    return backend, f"{backend} + {backward}", f"{first} + {' '.join([backward, *theirs])}"
