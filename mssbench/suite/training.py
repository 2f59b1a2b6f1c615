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
keys are parameters of the pair, and take lists as well. `then = {forward = ..., ...}` names the
method of the last stage. [[claim]] states what a paper says about the methods, see
`suite.training_claims`. Two keys of [training] say what else is measured, with true or false:
`probes` of the loss after each epoch, and `robustness` of the trained network.
"""

import difflib
import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from mssbench.errors import SuiteError, unknown
from mssbench.records.cell import format_options
from mssbench.records.training import (
    CHANNELS,
    DEVICES,
    FEATURE_TASKS,
    MEAN,
    PLACES,
    POLICIES,
    STAGES,
    TrainingCell,
)
from mssbench.results.parts import Part
from mssbench.suite import shards, training_claims
from mssbench.suite.ranges import as_list
from mssbench.suite.shards import Shard
from mssbench.suite.shipped import of_runs, of_trainings

_TOP = ("name", "description", "training", "method", "claim")
# The keys of [training] with their type and default; None: the suite must give it.
_AXES: dict[str, tuple[type, Any]] = {
    "task": (str, None),
    "seed": (int, 0),
    "learning_rate": (float, 0.1),
    "epochs": (int, 8),
    "batch": (int, 32),
    "precision": (str, "float32"),
    "places": (int, 0),  # 0 stands for the usual number of the task
    "channels": (int, 0),
    "policy": (str, "skip"),
    "device": (str, "cpu"),
}
_SWITCHES = ("probes", "robustness")
_NAME = re.compile(r"[\w-]+")
# The words that a key may have, and the numbers that must be above 0.
_WORDS = {
    "task": tuple(PLACES),
    "precision": ("float32", "float64"),
    "policy": POLICIES,
    "device": DEVICES,
}
_POSITIVE = ("epochs", "batch", "learning_rate")
# Limits of whole numbers: seeds that every generator takes, and sizes that fit in memory.
_LARGEST = {
    "seed": 2**31 - 1,
    "channels": 1024,
    "places": 1024,
    "batch": 1 << 16,
    "epochs": 100_000,
}
# Similarity from which on a key of a [[method]] is taken for a misspelt one of [training].
_ALIKE = 0.85


@dataclass(frozen=True)
class TrainingSuite:
    """A checked suite of trainings, with its cells in the order in which they will run.

    probes: whether the loss around each network is probed after each epoch. robustness: whether
    each trained network is evaluated on changed data and with truncated eigenvalues.
    """

    name: str
    description: str
    document: Mapping[str, Any]
    cells: tuple[TrainingCell, ...]
    probes: bool = False
    robustness: bool = False
    shard: Shard | None = None  # the part of the cells that is trained here, if not all
    of_all_shards: tuple[TrainingCell, ...] = ()  # the cells of all shards, if there are shards

    @property
    def digest(self) -> str:
        """A text that tells suites with other cells, or that measure more of them, from this one.

        The shards of a suite have the same. Claims may differ.
        """
        measured = {name: getattr(self, name) for name in _SWITCHES}
        return shards.digest(self.of_all_shards or self.cells, measured)

    def sharded(self, shard: Shard) -> "TrainingSuite":
        """Return the suite with the cells of one shard only.

        Raises SuiteError if there are more shards than cells.
        """
        return self._of_shard(shard, shards.cells_of(shard, self.cells))

    def in_shards(self, count: int) -> list["TrainingSuite"]:
        """Return the suites of all shards, dealt once, each as `sharded` returns it."""
        dealt = shards.deal(self.cells, count)
        return [self._of_shard(Shard(i, count), kept) for i, kept in enumerate(dealt, start=1)]

    def _of_shard(self, shard: Shard, cells: Iterable[TrainingCell]) -> "TrainingSuite":
        """Return the suite of a shard. cells: those that it has."""
        return replace(self, cells=tuple(cells), shard=shard, of_all_shards=self.cells)

    def part(self) -> Part | None:
        """Return what a run of this shard has, for the facts of its folder; None for no shard."""
        if self.shard is None:
            return None
        return shards.part_of_suite(self.shard, self.cells, self.of_all_shards, self.digest)


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
        raise SuiteError(f"there is no suite file {name!r}. Shipped: {', '.join(of_trainings())}.")
    if name not in of_trainings():
        if name in of_runs():
            raise SuiteError(f"{name!r} is a suite of `mssbench run`: use `mssbench run {name}`.")
        raise SuiteError(unknown("suite of trainings", name, of_trainings()))
    return of_trainings()[name]


def _checked(document: Mapping[str, Any], stem: str) -> TrainingSuite:
    """Return the suite of a document. Raises SuiteError for what is not valid in it."""
    if "axes" in document:
        raise SuiteError("this is a suite of `mssbench run`, which has [axes]: use that command.")
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
    for cell in distinct:
        _check_stages(cell)
    distinct.sort(key=lambda cell: (cell.task, cell.learning_rate, cell.seed))
    switches = {name: _switch(name, common) for name in _SWITCHES}
    training_claims.check(document.get("claim", []), distinct, **switches)
    return TrainingSuite(
        name,
        str(document.get("description", "")),
        document,
        tuple(distinct),
        probes=switches["probes"],
        robustness=switches["robustness"],
    )


def _switch(name: str, common: Mapping[str, Any]) -> bool:
    """Return a key of [training] that is true or false."""
    value = common.get(name, False)
    if not isinstance(value, bool):
        raise SuiteError(
            f"[training]: {name} = {value!r} is neither true nor false: write one of them."
        )
    return value


def _cells(common: Mapping[str, Any], table: Mapping[str, Any]) -> list[TrainingCell]:
    """Return the cells of one [[method]]. common: the table [training]."""
    for key in common:
        if key not in (*_AXES, *_SWITCHES):
            raise SuiteError(f"[training]: {unknown('key', key, (*_AXES, *_SWITCHES))}")
    given = {**common, **{k: v for k, v in table.items() if k in _AXES}}
    pair = {k: v for k, v in table.items() if k not in _AXES}
    if lists := [key for key, value in pair.items() if isinstance(value, list)]:
        if not pair[lists[0]]:
            raise SuiteError(f"[[method]]: {lists[0]} = [] has no value: give at least one.")
        return [
            cell for value in pair[lists[0]] for cell in _cells(common, {**table, lists[0]: value})
        ]
    _check_keys(pair)
    forward, backward, options, then = _method(pair)
    if forward == MEAN:  # it takes no root, so that a precision would change nothing
        given["precision"] = "float32"

    axes = {name: _values(name, given) for name in _AXES}
    return [
        TrainingCell(
            forward=forward,
            backward=backward,
            options=options,
            then=then,
            **_of_task(dict(zip(axes, values, strict=True))),
        )
        for values in itertools.product(*axes.values())
    ]


def _check_keys(pair: Mapping[str, Any]) -> None:
    """Raise SuiteError for keys of a [[method]] that seem to be meant for [training]."""
    for key in pair:
        if key in _SWITCHES:
            raise SuiteError(f"[[method]]: {key} is for all methods: write it below [training].")
        if alike := difflib.get_close_matches(key, _AXES, n=1, cutoff=_ALIKE):
            raise SuiteError(f"[[method]]: Unknown key {key!r}. Did you mean {alike[0]!r}?")


def _of_task(cell: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a cell with the usual numbers of its task for places and channels.

    Raises SuiteError for numbers that the task does not have.
    """
    task, places, channels = cell["task"], cell["places"], cell["channels"]
    if places and places not in PLACES[task]:
        known = ", ".join(map(str, PLACES[task]))
        raise SuiteError(
            f"[training]: places = {places} is none of those of {task}: {known}. With several "
            "tasks, write places into a [[method]] of one of them."
        )
    has_images = task not in FEATURE_TASKS
    if channels and not has_images and channels != CHANNELS[task]:
        raise SuiteError(
            f"[training]: channels = {channels} cannot be chosen for {task}, whose features have "
            f"{CHANNELS[task]}."
        )
    usual = {"places": places or PLACES[task][0], "channels": channels or CHANNELS[task]}
    return cell | usual


def _check_stages(cell: TrainingCell) -> None:
    """Raise SuiteError if a training has too few epochs for its method of the last stage."""
    if cell.then and cell.epochs < STAGES:
        raise SuiteError(
            f"epochs = {cell.epochs} leaves no last stage for `then`: give {STAGES} or more."
        )


def _values(name: str, given: Mapping[str, Any]) -> list[Any]:
    """Return the values of a key of [training], each of the right type."""
    kind, default = _AXES[name]
    if name not in given and default is None:
        raise SuiteError(f"[training] must name a {name}, one of {', '.join(_WORDS[name])}.")

    values = as_list(given.get(name, default))
    if not values:
        raise SuiteError(f"[training]: {name} = [] has no value: give at least one.")
    for value in values:
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or isinstance(value, bool):
            raise SuiteError(f"[training]: {name} = {value!r} is not of the type {kind.__name__}.")
        if name in _POSITIVE and not 0 < value < inf:
            raise SuiteError(f"[training]: {name} = {value!r} is not above 0 and finite.")
        if name in ("places", "channels", "seed") and value < 0:
            raise SuiteError(f"[training]: {name} = {value!r} is below 0.")
        if name in _LARGEST and value > _LARGEST[name]:
            raise SuiteError(
                f"[training]: {name} = {value!r} is more than {_LARGEST[name]}, the largest."
            )
        if name in _WORDS and value not in _WORDS[name]:
            raise SuiteError(f"[training]: {unknown(name, value, _WORDS[name])}")
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
        _check_then(then)
        following = format_options(then)
    return forward, backward, format_options(parameters), following


def _check_then(then: Mapping[str, Any]) -> None:
    """Raise SuiteError for a `then` that is no single method."""
    _method(then)
    for key, value in then.items():
        if key in (*_AXES, *_SWITCHES):
            raise SuiteError(
                f"then has a method and its parameters: {key} belongs to the whole training."
            )
        if isinstance(value, list):
            raise SuiteError(f"then names one method: {key} = {value!r} must be a single value.")
