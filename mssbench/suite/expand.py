"""The tables of a suite -> cells: products over lists, ranges, parameters, exclusions."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, cast

from mssbench import arrays, problems
from mssbench.errors import (
    MssbenchError,
    NotInstalled,
    RegistryError,
    SuiteError,
    UnknownName,
    unknown,
)
from mssbench.methods import method as method_
from mssbench.methods import registry, regularization
from mssbench.records.cell import APPLIED, CELL_KEY, OTHER_FUNCTIONS, Cell, format_options
from mssbench.suite.ranges import as_list, check_count, spelt_out

AXES = ("function", "problem", "size", "batch", "precision", "device", "seed")
DEFAULTS: dict[str, Any] = {
    "function": "sqrt",
    "problem": "wishart(ratio=2)",
    "precision": "float32",
    "device": "auto",
    "seed": 0,
}
_OWN = "If it is your own, name its file: --also FILE.py."
_PREFIX = "backward_"  # a backward's parameters stand beside the forward's under this prefix
_COUNTS = ("iterations", f"{_PREFIX}iterations")  # columns of their own
Values = dict[str, list[Any]]


def expand(document: Mapping[str, Any], device: str) -> list[Cell]:
    """The cells of a suite document, in the order they should run; device: what `auto` means.

    Raises SuiteError naming the table, the key and the nearest right word.
    """
    for axis, value in document["axes"].items():  # also one that every table replaces
        _check_named_axis(axis, value)
    found: dict[Cell, None] = {}  # two tables may name the same cell; it is measured once
    for number, method in enumerate(document["method"], 1):
        try:
            found |= dict.fromkeys(_expand_method(document["axes"], method, device))
        except (SuiteError, RegistryError) as error:
            raise located(f"[[method]] {number}: ", error) from None
    # after the methods: what a plugin takes is known once it has been named
    excluded = [exclusion(e, i) for i, e in enumerate(document.get("exclude", []), 1)]
    cells = [c for c in found if not any(_matches(c, e) for e in excluded)]
    return _grouped(cells, list(document["axes"]))


def _grouped(cells: Sequence[Cell], axes: Sequence[str]) -> list[Cell]:
    """Those that share matrices together, as problem and reference are built once for each group.

    axes: their names in the order of the suite. Values come in the order in which the suite names
    them: what it names first is measured first. A suite that names its sizes before its problems
    has all problems of one size measured before the next size; then a run that is out of time has
    compared methods on every kind of matrix. Else all sizes of one problem come first.
    """
    sizes_first = "size" in axes and axes.index("size") < [*axes, "problem"].index("problem")
    places = ("size", "problem", "seed") if sizes_first else ("problem", "seed", "size")
    fields = ("device", "precision", *places, "function", "batch")
    ranks = [
        {v: i for i, v in enumerate(dict.fromkeys(getattr(c, f) for c in cells))} for f in fields
    ]
    return sorted(
        cells, key=lambda c: [rank[getattr(c, f)] for f, rank in zip(fields, ranks, strict=True)]
    )


def _check_named_axis(axis: str, value: Any) -> None:
    try:
        check_axis(axis, value)
    except (SuiteError, RegistryError) as error:
        where = "[axes] " if str(error).startswith(axis) else f"[axes] {axis}: "
        raise located(where, error) from None


def located(where: str, error: MssbenchError) -> SuiteError:
    """The error with its place in the suite; for an unknown name also where it may be found."""
    own = f" {_OWN}" if isinstance(error, UnknownName) else ""
    return SuiteError(f"{where}{error}{own}")


def check_word(what: str, word: str, known: Iterable[str], where: str = "") -> None:
    """Raise SuiteError with the nearest right word unless `word` is known."""
    known = tuple(known)
    if word not in known:
        raise SuiteError(where + unknown(what, word, known))


def parameters(method: Mapping[str, Any]) -> set[str]:
    """Every parameter that a [[method]] table may give, as it is spelled there."""
    return (
        {*regularization.OPTIONS}
        | {p for m in _names(method, "forward") for p in _parameters("forward", m)}
        | {_PREFIX + p for m in _names(method, "backward") for p in _parameters("backward", m)}
    )


def _expand_method(
    axes: Mapping[str, Any], method: Mapping[str, Any], device: str
) -> Iterator[Cell]:
    given = {k: v for k, v in method.items() if k not in ("forward", "backward", *AXES)}
    pairs = list(_pairs(method))
    for key in given:
        _check_given(method, key)
    values = {axis: check_axis(axis, {**DEFAULTS, **axes, **method}[axis]) for axis in AXES}
    devices = values.pop("device")
    check_count(len(pairs), *map(len, values.values()))
    points = list(itertools.product(*values.values()))
    for library, forward, backward in pairs:
        combinations = _combinations(forward, backward, given)
        check_count(len(points), len(combinations))
        for each, combination, point in itertools.product(
            _devices(library, devices, device), combinations, points
        ):
            k, k_backward, options = combination
            function, problem, size, batch, precision, seed = point
            yield Cell(
                library,
                forward,
                backward,
                function,
                problem,
                size,
                batch,
                k,
                k_backward,
                options,
                precision,
                each,
                seed,
            )


def _pairs(method: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(library, forward, backward) of a [[method]] table."""
    backends, backwards = _listed(method, "forward"), _listed(method, "backward")
    if not backends:
        raise SuiteError("no 'forward': name one or more backends, such as \"torch/eigh\".")
    if not backwards:
        raise SuiteError("'backward' is empty: name one or more, or none.")
    for backend, backward in itertools.product(backends, backwards):
        library, forward = check_backend(backend)
        if backward != "none":
            _parameters("backward", backward)  # its name is checked here
        yield library, forward, backward


def check_backend(text: str) -> tuple[str, str]:
    """(library, forward) of `torch/eigh`. Raises SuiteError or RegistryError for an unknown one."""
    library, slash, forward = text.partition("/")
    if not slash:
        forwards = registry.known("forward").values()
        known = [f"{each}/{m.name}" for m in forwards for each in m.libraries]
        raise UnknownName(unknown("backend", text, known))
    check_word("library", library, arrays.LIBRARIES)
    try:
        able = registry.lookup("forward", forward).libraries
    except NotInstalled:
        return library, forward
    if library not in able:
        raise SuiteError(f"{forward} has no {library} version. It has: {', '.join(able)}.")
    return library, forward


def _combinations(
    forward: str, backward: str, given: Mapping[str, Any]
) -> list[tuple[int | None, int | None, str]]:
    """(iterations, backward_iterations, options) for every combination of parameters."""
    values = _values("forward", forward, "", given)
    if backward != "none":
        values |= _values("backward", backward, _PREFIX, given)
    values |= {k: check_regularization(k, given[k]) for k in regularization.OPTIONS if k in given}
    found = []
    for chosen in itertools.product(*values.values()):
        each = dict(zip(values, chosen, strict=True))
        # a column of numbers has no place for "auto", which stays among the options
        numbers = {k: each.pop(k) for k in _COUNTS if each.get(k, method_.AUTO) != method_.AUTO}
        k, k_backward = map(numbers.get, _COUNTS)
        found.append((k, k_backward, format_options(each)))
    return found


def _values(kind: method_.Kind, name: str, prefix: str, given: Mapping[str, Any]) -> Values:
    """Key to values for every parameter of a method; those not given have their default."""
    return {
        prefix + key: check_parameter(kind, name, prefix + key, given[prefix + key])
        if prefix + key in given
        else [parameter.default]
        for key, parameter in _parameters(kind, name).items()
    }


def check_parameter(kind: method_.Kind, name: str, key: str, value: Any) -> list[Any]:
    """The values given for a parameter of a method, spelt out. Raises SuiteError, RegistryError."""
    if not (many := spelt_out(value)):
        raise SuiteError(f"{key} is empty: its product has no cell.")
    method = registry.lookup(kind, name)
    return [method.check(key.removeprefix(_PREFIX), v) for v in many]


def check_regularization(key: str, value: Any) -> list[float]:
    """The values given for `ridge` or `rtol`, spelt out. Raises SuiteError, RegistryError."""
    if not (many := spelt_out(value)):
        raise SuiteError(f"{key} is empty: its product has no cell.")
    return [regularization.check(key, v) for v in many]


def check_override(document: Mapping[str, Any], key: str, value: Any) -> None:
    """Check the values of a parameter against every method of the suite that takes it."""
    if key in regularization.OPTIONS:
        check_regularization(key, value)
        return
    kind: method_.Kind = "backward" if key.startswith(_PREFIX) else "forward"
    for name in {n for m in document["method"] for n in _names(m, kind)}:
        if key.removeprefix(_PREFIX) in _parameters(kind, name):
            check_parameter(kind, name, key, value)


@cache
def _parameters(kind: method_.Kind, name: str) -> dict[str, method_.Parameter]:
    """Those of a method; none of a plugin's whose package is missing: its cells will say so."""
    try:
        return registry.lookup(kind, name).parameters
    except NotInstalled:
        return {}


def _check_given(method: Mapping[str, Any], key: str) -> None:
    """A parameter must mean something to one of its table's methods; it goes to those it does."""
    kind: method_.Kind = "backward" if key.startswith(_PREFIX) else "forward"
    names = _names(method, kind)
    if key in parameters(method):
        return
    if not names:
        raise SuiteError(f"{key!r} is given, but the backward is none.")
    name = key.removeprefix(_PREFIX)
    known = {p for m in names for p in _parameters(kind, m)}
    who = f"{kind} {', '.join(map(repr, names))}"
    if get_close_matches(key, regularization.OPTIONS):  # which every pair takes
        raise SuiteError(unknown("parameter", key, regularization.OPTIONS))
    if not known:
        raise SuiteError(f"{who} takes no {name!r}: it has no parameters. Remove {key!r}.")
    raise SuiteError(f"{who} takes no {name!r}. {unknown('parameter', name, known)}")


def _names(method: Mapping[str, Any], kind: method_.Kind) -> list[str]:
    """The methods a table names, without their libraries and without none."""
    return [name.rpartition("/")[2] for name in _listed(method, kind) if name != "none"]


def _listed(method: Mapping[str, Any], kind: method_.Kind) -> list[str]:
    return [str(v) for v in as_list(method.get(kind, "none" if kind == "backward" else []))]


def _devices(library: str, listed: Sequence[str], auto: str) -> list[str]:
    """The listed devices a library has; under `auto` its own, whatever this machine offers.

    A library that has none of them keeps its cells: they become rows that say so.
    """
    wanted = dict.fromkeys(auto if d == "auto" else d for d in listed)
    able = [d for d in wanted if d in arrays.DEVICES[library]]
    if able:
        return able
    return [arrays.DEVICES[library][0]] if "auto" in listed else list(wanted)


def check_axis(name: str, value: Any) -> list[Any]:
    """The values of an axis, spelt out. Raises SuiteError or RegistryError for a wrong one."""
    values = spelt_out(value)
    if not values:
        raise SuiteError(f"{name} is empty: its product has no cell.")
    return [_axis_value(name, v) for v in values]


def _axis_value(name: str, value: Any) -> Any:
    if name in ("size", "batch", "seed"):
        least = 0 if name == "seed" else 1
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SuiteError(f"{name} = {value!r} is not a whole number of {least} or more.")
    elif name == "problem":
        return problems.canonical(str(value))
    elif name == "function":
        check_word("function", value, (*method_.FUNCTIONS, APPLIED, *OTHER_FUNCTIONS))
    elif name == "precision":
        check_word("precision", value, arrays.STORAGE)
    else:
        check_word("device", value, ("auto", "cpu", "cuda"))
    return value


def exclusion(table: Mapping[str, Any], number: int) -> Values:
    """A checked [[exclude]] table: a cell goes if every key has one of its values."""
    where = f"[[exclude]] {number}: "
    takers: dict[str, list[method_.Method]] = {}
    for kind, prefix in (("forward", ""), ("backward", _PREFIX)):
        for method in registry.known(cast(method_.Kind, kind)).values():
            for name in method.parameters:
                takers.setdefault(prefix + name, []).append(method)
    checked: Values = {}
    for key, value in table.items():
        check_word("key", key, {*CELL_KEY, *takers, *regularization.OPTIONS, "backend"}, where)
        try:
            checked[key] = check_axis(key, value) if key in AXES else spelt_out(value)
            for each in checked[key]:
                _check_excluded(key, each)
                if key in takers:
                    _check_for_any(takers[key], key.removeprefix(_PREFIX), each)
        except MssbenchError as error:
            raise located(where, error) from None
        if not checked[key]:
            raise SuiteError(f"{where}{key} is empty and would exclude nothing.")
    if not checked:
        raise SuiteError(f"{where}it is empty and would exclude every cell.")
    return checked


def _check_for_any(takers: Sequence[method_.Method], name: str, value: Any) -> None:
    """Raise RegistryError unless one of these methods takes the value."""
    refused: RegistryError | None = None
    for method in takers:
        try:
            method.check(name, value)
        except RegistryError as error:
            refused = refused or error
        else:
            return
    if refused is not None:
        raise refused


def _check_excluded(key: str, value: Any) -> None:
    """Refuse a misspelt word, which would silently exclude nothing."""
    if key == "device" and value == "auto":
        raise SuiteError("device = 'auto' is no device of a cell: name cpu or cuda.")
    if key == "library":
        check_word("library", value, arrays.LIBRARIES)
    elif key == "backend":
        check_backend(str(value))
    elif key == "forward" or (key == "backward" and value != "none"):
        _parameters(key, str(value))
    elif key.endswith("iterations") and value != method_.AUTO and type(value) is not int:
        raise SuiteError(f'{key} = {value!r} is not a whole number or "auto".')


def _matches(cell: Cell, exclusion: Values) -> bool:
    def value(key: str) -> Any:
        own = getattr(cell, key, None)
        return cell.parameters.get(key) if own is None else own

    return all(value(key) in values for key, values in exclusion.items())
