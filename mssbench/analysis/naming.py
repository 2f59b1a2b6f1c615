"""Names of methods in tables: a short name, the name that papers use, and the Python call."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mssbench.methods import registry
from mssbench.methods.method import MethodKind
from mssbench.methods.regularization import OPTIONS
from mssbench.records.cell import APPLIED, OF_FEATURES, OTHER_FUNCTIONS, WHITENING, parse_options
from mssbench.records.measurement import Row
from mssbench.results.labels import written

# Names that papers gave to pairs, and the parameters with which a pair has that name.
_PAPERS: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {
    ("newton_schulz", "autodiff"): ("iSQRT-COV", {"iterations": 5, "norm": "trace"}),
    ("pade", "lyapunov_newton_schulz"): ("MPA", {}),
    ("taylor", "lyapunov_newton_schulz"): ("MTP", {}),
}
_LYAPUNOV = "lyapunov"  # prefix of the backwards that solve the Lyapunov equation
_FUNCTIONS = {"sqrt": "sqrtm", "isqrt": "isqrtm", OF_FEATURES: "sqrtm", WHITENING: "isqrtm"}
# The calls of methods that compute a function other than the root.
_CALLS = {
    "from_features": "y = mssbench.sqrtm_of_features(x)",
    "cholesky": "w = mssbench.whitening(a)",
    "log_eigh": "y = mssbench.logm(a)",
}


def paper_name(row: Row) -> str:
    """Return the name that papers use for a row's pair and parameters, such as `iSQRT-COV`.

    Empty if papers have none: newton_schulz + autodiff is iSQRT-COV only with the parameters that
    `_PAPERS` demands.
    """
    name, parameters = _PAPERS.get((row["forward"], row["backward"]), ("", {}))
    options = parse_options(row["options"]) | {"iterations": row["iterations"]}
    return name if all(options.get(k) == v for k, v in parameters.items()) else ""


def short_names(rows: Sequence[Row]) -> list[str]:
    """Return short unique names of some methods, such as `eigh + loewner` or `numpy/eigh`.

    rows: one row of each method, with the key columns; a missing number is None. A name has the
    iterations of the forward only if the rows differ in them, and further parameters only if two
    names would be equal without them.
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
    # Such names may still be equal: `default` values are left out, and so are parameter names.
    names = [
        _in_full(row) if names.count(name) > 1 else name
        for row, name in zip(rows, names, strict=True)
    ]
    return names if len({*names}) == len(names) else [_in_full(row) for row in rows]


def _steps(row: Row) -> str:
    """Return the iterations of the forward as text, empty if it has none."""
    return "" if row["iterations"] is None else str(row["iterations"])


def _pair_name(row: Row, backwards: set[str], forward_words: str = "", more: str = "") -> str:
    """Return the name of a method, `forward + backward`; the library is named unless it is torch.

    backwards: all backwards of the table. forward_words, more: the parameters of the forward and of
    the backward that the name is to have.
    """
    library = "" if row["library"] == "torch" else f"{row['library']}/"
    # Regularization changes the matrix and thus the root, so these options are always named.
    changed = [f"{k}={v}" for k, v in parse_options(row["options"]).items() if k in OPTIONS]
    forward = " ".join(filter(None, [f"{library}{row['forward']}", forward_words, *changed]))
    if row["backward"] == "none":
        return forward
    backward = _backward_name(str(row["backward"]), backwards)
    return " ".join(filter(None, [f"{forward} + {backward}", more]))


def _backward_name(backward: str, backwards: set[str]) -> str:
    """Return the name of a backward, shortened to `lyapunov` if the table has no other solver.

    backwards: all backwards of the table.
    """
    solvers = [b for b in backwards if b.startswith(_LYAPUNOV)]
    return _LYAPUNOV if solvers == [backward] else backward


def _with_parameters(row: Row, backwards: set[str]) -> str:
    """Return the name of a pair with the values of all parameters that are not `default`."""
    forward, backward = [_steps(row)], []
    if row["backward_iterations"] is not None:
        backward.append(str(row["backward_iterations"]))
    for name, value in parse_options(row["options"]).items():
        if value != "default" and name not in OPTIONS:
            plain = name.removeprefix("backward_")
            word = value if isinstance(value, str) else f"{plain}={written(value)}"
            (backward if name.startswith("backward_") else forward).append(word)
    return _pair_name(row, backwards, " ".join(filter(None, forward)), " ".join(backward))


def _in_full(row: Row) -> str:
    """Return the full name of a method, with all parameters as they stand in its key columns."""
    pair = f"{row['library']}/{row['forward']} + {row['backward']}"
    steps = [f"{k}={row[k]}" for k in ("iterations", "backward_iterations") if row[k] is not None]
    return " ".join(filter(None, [pair, *steps, row["options"]]))


def call_text(row: Row) -> str:
    """Return the Python call of a row's method: `y = mssbench.sqrtm(a, forward="eigh")`.

    Parameters with the method's default value are left out. The text is empty if no public function
    computes it: for A^{-1/2} b, and for libraries that take no torch tensors.
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
    """Return the parameters of a pair that differ from the defaults of `sqrtm` and `isqrtm`."""
    parameters = {k: row[k] for k in ("iterations", "backward_iterations") if row[k] is not None}
    parameters |= {k: v for k, v in parse_options(row["options"]).items() if v != "default"}
    usual = _defaults("forward", row["forward"], "")
    if row["backward"] != "none":
        usual = usual | _defaults("backward", row["backward"], "backward_")
    return {k: v for k, v in parameters.items() if k not in usual or usual[k] != v}


def _defaults(kind: MethodKind, name: str, prefix: str) -> dict[str, Any]:
    """Return the default that `sqrtm` has for each parameter of a method, after `prefix`.

    Empty if the method is not registered.
    """
    known = registry.known(kind)
    if name not in known:
        return {}
    return {f"{prefix}{k}": p.public_default for k, p in known[name].parameters.items()}
