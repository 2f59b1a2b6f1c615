"""What a method is called where it is recommended: a short name, the papers' name, and its call."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mssbench.methods import registry
from mssbench.methods.method import Kind
from mssbench.methods.regularization import OPTIONS
from mssbench.records.cell import APPLIED, OF_FEATURES, OTHER_FUNCTIONS, WHITENING, parse_options
from mssbench.records.measurement import Row

# The names that papers gave to a pair, and the parameters that belong to the name.
_PAPERS: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {
    ("newton_schulz", "autodiff"): ("iSQRT-COV", {"iterations": 5, "norm": "trace"}),
    ("pade", "lyapunov_newton_schulz"): ("MPA", {}),
    ("taylor", "lyapunov_newton_schulz"): ("MTP", {}),
}
_LYAPUNOV = "lyapunov"  # the longest names begin with it
_FUNCTIONS = {"sqrt": "sqrtm", "isqrt": "isqrtm", OF_FEATURES: "sqrtm", WHITENING: "isqrtm"}
# The calls of methods that compute another function by themselves.
_CALLS = {
    "from_features": "y = mssbench.sqrtm_of_features(x)",
    "cholesky": "w = mssbench.whitening(a)",
    "log_eigh": "y = mssbench.logm(a)",
}


def paper_name(row: Row) -> str:
    """`iSQRT-COV` for five Newton–Schulz steps with autodiff; empty for a pair without such one."""
    name, parameters = _PAPERS.get((row["forward"], row["backward"]), ("", {}))
    given = parse_options(row["options"]) | {"iterations": row["iterations"]}
    return name if all(given.get(k) == v for k, v in parameters.items()) else ""


def short_names(rows: Sequence[Row]) -> list[str]:
    """The names of some methods, as short as keeps them apart: `eigh + loewner`, `numpy/eigh`.

    rows: one of each method, with the key columns; a missing number is None. The steps of a forward
    are named where another row has other steps of it, and further parameters only where two methods
    would share a name. No two of the names are equal.
    """
    backwards = {str(row["backward"]) for row in rows}
    steps: dict[str, set[int | None]] = {}
    for row in rows:
        steps.setdefault(row["forward"], set()).add(row["iterations"])

    several = [len(steps[row["forward"]]) > 1 for row in rows]
    names = [
        _pair_name(row, backwards, _steps(row) if named else "")
        for row, named in zip(rows, several, strict=True)
    ]
    names = [
        _with_parameters(row, backwards) if names.count(name) > 1 else name
        for row, name in zip(rows, names, strict=True)
    ]
    # Words alone may be equal still: `default` is left out, and two parameters may have one value.
    names = [
        _in_full(row) if names.count(name) > 1 else name
        for row, name in zip(rows, names, strict=True)
    ]
    return names if len({*names}) == len(names) else [_in_full(row) for row in rows]


def _steps(row: Row) -> str:
    return "" if row["iterations"] is None else str(row["iterations"])


def _pair_name(row: Row, backwards: set[str], forward_words: str = "", more: str = "") -> str:
    library = "" if row["library"] == "torch" else f"{row['library']}/"
    # Another matrix has another root, so what was done to it is always named.
    changed = [f"{k}={v}" for k, v in parse_options(row["options"]).items() if k in OPTIONS]
    forward = " ".join(filter(None, [f"{library}{row['forward']}", forward_words, *changed]))
    if row["backward"] == "none":
        return forward
    backward = _backward_name(str(row["backward"]), backwards)
    return " ".join(filter(None, [f"{forward} + {backward}", more]))


def _backward_name(backward: str, backwards: set[str]) -> str:
    """`lyapunov` for the only method that solves the Lyapunov equation; else the whole name."""
    solvers = [b for b in backwards if b.startswith(_LYAPUNOV)]
    return _LYAPUNOV if solvers == [backward] else backward


def _with_parameters(row: Row, backwards: set[str]) -> str:
    forward, backward = [_steps(row)], []
    if row["backward_iterations"] is not None:
        backward.append(str(row["backward_iterations"]))
    for name, value in parse_options(row["options"]).items():
        if value != "default" and name not in OPTIONS:
            word = value if isinstance(value, str) else f"{name.removeprefix('backward_')}={value}"
            (backward if name.startswith("backward_") else forward).append(word)
    return _pair_name(row, backwards, " ".join(filter(None, forward)), " ".join(backward))


def _in_full(row: Row) -> str:
    """Everything that tells one method from all others, as its columns have it."""
    pair = f"{row['library']}/{row['forward']} + {row['backward']}"
    steps = [f"{k}={row[k]}" for k in ("iterations", "backward_iterations") if row[k] is not None]
    return " ".join(filter(None, [pair, *steps, row["options"]]))


def call_text(row: Row) -> str:
    """The statement that computes this row's root: `y = mssbench.sqrtm(a, forward="eigh")`.

    A parameter is left out where it has the method's default. Empty for what has no public
    function: A^{-1/2} b, or a library that takes no torch tensors.
    """
    if row["library"] != "torch" or row["function"] == APPLIED:
        return ""
    if row["function"] in OTHER_FUNCTIONS and row["forward"] in _CALLS:
        return _CALLS[row["forward"]]
    if row["function"] not in _FUNCTIONS:
        return ""
    named = {"forward": row["forward"]}
    if row["backward"] != "none":
        named["backward"] = row["backward"]
    arguments = ", ".join(f"{k}={json.dumps(v)}" for k, v in (named | parameters_of(row)).items())
    matrices = "x @ x.mT / x.shape[-1]" if row["function"] == OF_FEATURES else "a"
    return f"y = mssbench.{_FUNCTIONS[row['function']]}({matrices}, {arguments})"


def parameters_of(row: Row) -> dict[str, Any]:
    """The parameters of a pair that are not what `sqrtm` and `isqrtm` take by themselves."""
    given = {k: row[k] for k in ("iterations", "backward_iterations") if row[k] is not None}
    given |= {k: v for k, v in parse_options(row["options"]).items() if v != "default"}
    usual = _defaults("forward", row["forward"], "")
    if row["backward"] != "none":
        usual = usual | _defaults("backward", row["backward"], "backward_")
    return {k: v for k, v in given.items() if k not in usual or usual[k] != v}


def _defaults(kind: Kind, name: str, prefix: str) -> dict[str, Any]:
    """The public default of each parameter of a method; none for one that is not known here."""
    known = registry.known(kind)
    if name not in known:
        return {}
    return {f"{prefix}{k}": p.public_default for k, p in known[name].parameters.items()}
