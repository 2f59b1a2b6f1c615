"""Read a suite of trainings: TOML -> the cells, one for each method, task, seed and learning rate.

    name = "train_smoke"
    [training]
    task = "digits"
    seed = [0, 1]
    learning_rate = 0.1
    epochs = 4
    [[method]]
    forward = "newton_schulz"
    backward = "autodiff"
    iterations = 5
    norm = "trace"

Every key of [training] takes a value or a list of values. A [[method]] may replace them. Its other
keys are parameters of the pair. `then = {forward = ..., ...}` names the method of the last stage.
"""

import itertools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Any

from mssbench.errors import SuiteError, unknown
from mssbench.records.cell import format_options
from mssbench.records.training import TrainingCell
from mssbench.suite.ranges import as_list

_TOP = ("name", "description", "training", "method")
# The keys of [training] with their type and default; None: the suite must give it.
_AXES: dict[str, tuple[type, Any]] = {
    "task": (str, None),
    "seed": (int, 0),
    "learning_rate": (float, 0.1),
    "epochs": (int, 8),
    "batch": (int, 32),
    "precision": (str, "float32"),
}
_NAME = re.compile(r"[\w-]+")
_PRECISIONS = ("float32", "float64")


@dataclass(frozen=True)
class TrainingSuite:
    """A checked suite of trainings, with its cells in the order in which they will run."""

    name: str
    description: str
    document: Mapping[str, Any]
    cells: tuple[TrainingCell, ...]


def shipped() -> dict[str, Path]:
    """Return the file of each suite of trainings that comes with mssbench, by name."""
    package = Path(str(files("mssbench")))
    for folder in (package / "suites" / "training", package.parent / "suites" / "training"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.toml"))}
    return {}


def load(name: str) -> TrainingSuite:
    """Return a suite. name: its path, or the name of a shipped suite.

    Raises SuiteError, which names the file and the key, if it cannot be read or is not valid.
    """
    file = _find(name)
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SuiteError(f"{file} cannot be read: {error}") from None
    try:
        return _checked(document, file.stem)
    except SuiteError as error:
        raise SuiteError(f"{file}: {error}") from None


def _find(name: str) -> Path:
    path = Path(name)
    if path.suffix == ".toml" or "/" in name:
        if path.is_file():
            return path
        raise SuiteError(f"there is no suite file {name!r}. Shipped: {', '.join(shipped())}.")
    if name not in shipped():
        raise SuiteError(unknown("suite of trainings", name, shipped()))
    return shipped()[name]


def _checked(document: Mapping[str, Any], stem: str) -> TrainingSuite:
    """Return the suite of a document. Raises SuiteError for what is not valid in it."""
    for key in document:
        if key not in _TOP:
            raise SuiteError(unknown("key", key, _TOP))
    methods = document.get("method", [])
    if not isinstance(methods, list) or not methods:
        raise SuiteError('there is no [[method]]: name at least one, such as forward = "eigh".')
    if wrong := [method for method in methods if not isinstance(method, dict)]:
        raise SuiteError(f"method = {wrong[0]!r} is not a table: write [[method]] above its keys.")
    common = document.get("training", {})
    if not isinstance(common, dict):
        raise SuiteError(f"training = {common!r} is not a table: write [training] above its keys.")
    name = document.get("name", stem)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise SuiteError(
            f"name = {name!r} cannot be the name of a folder of results: use letters, digits, _ "
            "and - alone."
        )

    cells = [cell for table in methods for cell in _cells(common, table)]
    distinct = list({cell.cell_id: cell for cell in cells}.values())
    distinct.sort(key=lambda cell: (cell.task, cell.learning_rate, cell.seed))
    return TrainingSuite(
        name,
        str(document.get("description", "")),
        document,
        tuple(distinct),
    )


def _cells(common: Mapping[str, Any], table: Mapping[str, Any]) -> list[TrainingCell]:
    """Return the cells of one [[method]]. common: the table [training]."""
    for key in common:
        if key not in _AXES:
            raise SuiteError(f"[training]: {unknown('key', key, _AXES)}")
    given = {**common, **{k: v for k, v in table.items() if k in _AXES}}
    pair = {k: v for k, v in table.items() if k not in _AXES}
    forward, backward, options, then = _method(pair)

    axes = {name: _values(name, given) for name in _AXES}
    return [
        TrainingCell(forward=forward, backward=backward, options=options, then=then, **cell)
        for values in itertools.product(*axes.values())
        for cell in [dict(zip(axes, values, strict=True))]
    ]


def _values(name: str, given: Mapping[str, Any]) -> list[Any]:
    """Return the values of a key of [training], each of the right type."""
    kind, default = _AXES[name]
    if name not in given and default is None:
        raise SuiteError(f"[training] must name a {name}.")

    values = as_list(given.get(name, default))
    if not values:
        raise SuiteError(f"[training]: {name} = [] has no value: give at least one.")
    for value in values:
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or isinstance(value, bool):
            raise SuiteError(f"[training]: {name} = {value!r} is not of the type {kind.__name__}.")
        if name in ("epochs", "batch", "learning_rate") and not 0 < value < inf:
            raise SuiteError(f"[training]: {name} = {value!r} is not above 0 and finite.")
        if name == "precision" and value not in _PRECISIONS:
            raise SuiteError(f"[training]: {unknown('precision', value, _PRECISIONS)}")
    return [kind(value) for value in values]


def _method(table: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return forward, backward, options and `then` of a [[method]], as a cell has them."""
    parameters = dict(table)
    forward, backward = parameters.pop("forward", None), parameters.pop("backward", "")
    then = parameters.pop("then", None)
    if not isinstance(forward, str) or not isinstance(backward, str):
        raise SuiteError('[[method]] needs forward = "NAME", and backward, if any, is a name too.')

    following = ""
    if then is not None:
        if not isinstance(then, dict) or "then" in then:
            raise SuiteError(
                "then = {forward = ..., ...} names one method, without a further then."
            )
        _method(then)
        following = format_options(then)
    return forward, backward, format_options(parameters), following
