"""Expand the tables of a suite into cells.

A cell is one combination of a method, its parameters and a value of every axis (size, batch,
problem, ...). Each [[method]] table stands for all combinations of its lists and ranges. Cells that
match an [[exclude]] table are removed.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from operator import attrgetter
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
_PREFIX = "backward_"  # distinguishes the parameters of a backward from those of the forward
_COUNTS = ("iterations", f"{_PREFIX}iterations")  # parameters that have columns of their own
Values = dict[str, list[Any]]


def expand(document: Mapping[str, Any], device: str) -> list[Cell]:
    """Return the cells of a suite document, in the order in which they are measured.

    device: the device that `auto` stands for. Raises SuiteError for a wrong value, with its table,
    its key and the nearest right word.
    """
    for axis, value in document["axes"].items():  # also an axis that every [[method]] overrides
        _check_named_axis(axis, value)

    unique: dict[Cell, None] = {}  # two tables may contain the same cell; it is measured once
    for number, method in enumerate(document["method"], 1):
        try:
            unique |= dict.fromkeys(_expand_method(document["axes"], method, device))
        except (SuiteError, RegistryError) as error:
            raise located(f"[[method]] {number}: ", error) from None

    # After the methods, because the parameters of a plug-in are known only once it is imported.
    excluded = [exclusion(e, i) for i, e in enumerate(document.get("exclude", []), 1)]
    cells = [c for c in unique if not any(_matches(c, e) for e in excluded)]
    return _grouped(cells, list(document["axes"]))


def _grouped(cells: Sequence[Cell], axes: Sequence[str]) -> list[Cell]:
    """Return the cells sorted so that those with the same matrices are adjacent.

    The problem and its reference are then built once per group. axes: the names of the axes in the
    order of the suite. The values of each axis keep the order of the suite. If the suite names
    `size` before `problem`, all problems of one size are measured before the next size, so that a
    run that ends early has compared the methods on every kind of matrix. Otherwise all sizes of one
    problem come first.
    """
    sizes_first = "size" in axes and axes.index("size") < [*axes, "problem"].index("problem")
    places = ("size", "problem", "seed") if sizes_first else ("problem", "seed", "size")
    fields = ("device", "precision", *places, "function", "batch")
    ranks = [
        {value: rank for rank, value in enumerate(dict.fromkeys(map(attrgetter(field), cells)))}
        for field in fields
    ]
    # Most fields have one value in the whole suite, and so no influence on the order.
    several = [pair for pair in zip(fields, ranks, strict=True) if len(pair[1]) > 1]

    return sorted(cells, key=lambda c: [rank[getattr(c, field)] for field, rank in several])


def _check_named_axis(axis: str, value: Any) -> None:
    """Check the values of an axis in the table [axes].

    Raises SuiteError, with the name of the axis, for an invalid value.
    """
    try:
        check_axis(axis, value)
    except (SuiteError, RegistryError) as error:
        where = "[axes] " if str(error).startswith(axis) else f"[axes] {axis}: "
        raise located(where, error) from None


def located(where: str, error: MssbenchError) -> SuiteError:
    """Return a SuiteError with this error's message, after the place in the suite (`where`).

    For an unknown name it ends with a hint at --also, since the name may be of a user's method.
    """
    hint = f" {_OWN}" if isinstance(error, UnknownName) else ""
    return SuiteError(f"{where}{error}{hint}")


def check_word(what: str, word: str, known: Iterable[str], where: str = "") -> None:
    """Raise SuiteError, which names the nearest known word, unless `word` is known.

    what: what the word stands for, such as `device`. where: the beginning of the message.
    """
    known = tuple(known)
    if word not in known:
        raise SuiteError(where + unknown(what, word, known))


def parameters(method: Mapping[str, Any]) -> set[str]:
    """Return the names of all parameters that a [[method]] table may set.

    Those of its backwards begin with `backward_`.
    """
    return (
        {*regularization.OPTIONS}
        | {p for m in _names(method, "forward") for p in _parameters("forward", m)}
        | {_PREFIX + p for m in _names(method, "backward") for p in _parameters("backward", m)}
    )


def _expand_method(
    axes: Mapping[str, Any], method: Mapping[str, Any], device: str
) -> Iterator[Cell]:
    """Yield the cells of one [[method]] table.

    axes: the table [axes]. device: what `auto` stands for. Raises SuiteError or RegistryError for a
    wrong key or value.
    """
    given = {k: v for k, v in method.items() if k not in ("forward", "backward", *AXES)}
    combined = list(pairs(method))
    for key in given:
        _check_given(method, key)

    values = {axis: check_axis(axis, {**DEFAULTS, **axes, **method}[axis]) for axis in AXES}
    devices = values.pop("device")
    check_count(len(combined), *map(len, values.values()))

    points = list(itertools.product(*values.values()))

    for library, forward, backward in combined:
        combinations = _combinations(forward, backward, given)
        check_count(len(points), len(combinations))
        for used_device, combination, point in itertools.product(
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
                used_device,
                seed,
            )


def pairs(method: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield every (library, forward, backward) of a [[method]] table."""
    backends, backwards = _listed(method, "forward"), _listed(method, "backward")
    if not backends:
        raise SuiteError("no 'forward': name one or more backends, such as \"torch/eigh\".")
    if not backwards:
        raise SuiteError("'backward' is empty: name one or more, or none.")

    for backend, backward in itertools.product(backends, backwards):
        library, forward = check_backend(backend)
        if backward != "none":
            _parameters("backward", backward)  # raises for an unknown name
        yield library, forward, backward


def check_backend(text: str) -> tuple[str, str]:
    """Return (library, forward) of a text such as `torch/eigh`.

    Raises SuiteError or RegistryError if the library or the forward is unknown, or if the forward
    has no version for the library.
    """
    library, slash, forward = text.partition("/")
    if not slash:
        forwards = registry.known("forward").values()
        known = [f"{name}/{m.name}" for m in forwards for name in m.libraries]
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
    """Return (iterations, backward_iterations, options) for every combination of parameters.

    options: all other parameters as one text. given: the parameters in the [[method]] table.
    """
    values = _values("forward", forward, "", given)
    if backward != "none":
        values |= _values("backward", backward, _PREFIX, given)
    values |= {k: check_regularization(k, given[k]) for k in regularization.OPTIONS if k in given}
    combinations = []
    for chosen in itertools.product(*values.values()):
        options = dict(zip(values, chosen, strict=True))
        # "auto" does not fit in a column of whole numbers, and stays among the options.
        numbers = {
            k: options.pop(k) for k in _COUNTS if options.get(k, method_.AUTO) != method_.AUTO
        }
        k, k_backward = map(numbers.get, _COUNTS)
        combinations.append((k, k_backward, format_options(options)))
    return combinations


def _values(kind: method_.MethodKind, name: str, prefix: str, given: Mapping[str, Any]) -> Values:
    """Return the list of values of every parameter of a method, its default if none is given.

    The keys are the names of the parameters after `prefix`.
    """
    return {
        prefix + key: check_parameter(kind, name, prefix + key, given[prefix + key])
        if prefix + key in given
        else [parameter.default]
        for key, parameter in _parameters(kind, name).items()
    }


def check_parameter(kind: method_.MethodKind, name: str, key: str, value: Any) -> list[Any]:
    """Return the values of a parameter of a method as a list, with ranges expanded.

    Raises SuiteError for an empty list, RegistryError for a value that the method does not take.
    """
    if not (many := spelt_out(value)):
        raise SuiteError(f"{key} is empty: give at least one value.")
    method = registry.lookup(kind, name)
    return [method.check(key.removeprefix(_PREFIX), v) for v in many]


def check_regularization(key: str, value: Any) -> list[float]:
    """Return the values of `ridge` or `rtol`, with ranges expanded.

    Raises SuiteError or RegistryError for an invalid value.
    """
    if not (many := spelt_out(value)):
        raise SuiteError(f"{key} is empty: give at least one value.")
    return [regularization.check(key, v) for v in many]


def check_override(document: Mapping[str, Any], key: str, value: Any) -> None:
    """Check the values that --set gives a parameter, for every method of the suite that takes it.

    Raises SuiteError or RegistryError for a wrong value.
    """
    if key in regularization.OPTIONS:
        check_regularization(key, value)
        return
    kind: method_.MethodKind = "backward" if key.startswith(_PREFIX) else "forward"
    for name in {n for m in document["method"] for n in _names(m, kind)}:
        if key.removeprefix(_PREFIX) in _parameters(kind, name):
            check_parameter(kind, name, key, value)


@cache
def _parameters(kind: method_.MethodKind, name: str) -> dict[str, method_.Parameter]:
    """Return the parameters of a method by name.

    Empty for a plug-in whose package is missing: its cells become rows `not_installed`.
    """
    try:
        return registry.lookup(kind, name).parameters
    except NotInstalled:
        return {}


def _check_given(method: Mapping[str, Any], key: str) -> None:
    """Raise SuiteError unless a method of the table takes the parameter `key`."""
    kind: method_.MethodKind = "backward" if key.startswith(_PREFIX) else "forward"
    names = _names(method, kind)
    if key in parameters(method):
        return
    if not names:
        raise SuiteError(f"{key!r} is given, but the backward is none.")

    name = key.removeprefix(_PREFIX)
    known = {p for m in names for p in _parameters(kind, m)}
    who = f"{kind} {', '.join(map(repr, names))}"

    if get_close_matches(key, regularization.OPTIONS):  # which every pair takes
        raise SuiteError(unknown("regularization option", key, regularization.OPTIONS))
    if not known:
        raise SuiteError(f"{who} takes no {name!r}: it has no parameters. Remove {key!r}.")
    raise SuiteError(f"{who} takes no {name!r}. {unknown('parameter', name, known)}")


def _names(method: Mapping[str, Any], kind: method_.MethodKind) -> list[str]:
    """Return the names of the methods in a table, without library; `none` is left out."""
    return [name.rpartition("/")[2] for name in _listed(method, kind) if name != "none"]


def _listed(method: Mapping[str, Any], kind: method_.MethodKind) -> list[str]:
    return [str(v) for v in as_list(method.get(kind, "none" if kind == "backward" else []))]


def _devices(library: str, listed: Sequence[str], auto: str) -> list[str]:
    """Return the listed devices that a library supports, whether this machine has them or not.

    auto: the device that `auto` stands for; for a library that does not support it, the library's
    first device takes its place. If the library supports none of the listed devices, all are
    returned: their cells become rows with the status `unsupported`.
    """
    wanted = dict.fromkeys(auto if d == "auto" else d for d in listed)
    able = [d for d in wanted if d in arrays.DEVICES[library]]
    if able:
        return able
    return [arrays.DEVICES[library][0]] if "auto" in listed else list(wanted)


def check_axis(name: str, value: Any) -> list[Any]:
    """Return the values of an axis, such as `size`, as a list with ranges expanded.

    Raises SuiteError or RegistryError for a wrong value.
    """
    values = spelt_out(value)
    if not values:
        raise SuiteError(f"{name} is empty: give at least one value.")
    return [_axis_value(name, v) for v in values]


def _axis_value(name: str, value: Any) -> Any:
    """Return one value of an axis in the form in which cells have it.

    Raises SuiteError or RegistryError for a wrong value.
    """
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
    """Check an [[exclude]] table, and return its values by key.

    A cell is excluded if it has, for every key, one of the values of this key. number: of the
    table, for messages. Raises SuiteError for a wrong key or value.
    """
    where = f"[[exclude]] {number}: "

    # The methods that take each parameter.
    takers: dict[str, list[method_.Method]] = {}
    for kind, prefix in (("forward", ""), ("backward", _PREFIX)):
        for method in registry.known(cast(method_.MethodKind, kind)).values():
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
    """Raise RegistryError unless one of the methods accepts the value of a parameter."""
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
    """Raise an error for a misspelt value, which would silently exclude nothing."""
    if key == "device" and value == "auto":
        raise SuiteError("device = 'auto' is not the device of a cell: write cpu or cuda.")

    if key == "library":
        check_word("library", value, arrays.LIBRARIES)
    elif key == "backend":
        check_backend(str(value))
    elif key == "forward" or (key == "backward" and value != "none"):
        _parameters(key, str(value))
    elif key.endswith("iterations") and value != method_.AUTO and type(value) is not int:
        raise SuiteError(f'{key} = {value!r} is not a whole number or "auto".')


def _matches(cell: Cell, exclusion: Values) -> bool:
    """Whether a cell is excluded: it has, for every key, one of the values of this key."""

    def value(key: str) -> Any:
        attribute = getattr(cell, key, None)
        return cell.parameters.get(key) if attribute is None else attribute

    return all(value(key) in values for key, values in exclusion.items())
