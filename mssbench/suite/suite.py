"""Read and check a suite file. A suite that could not run or would mean nothing is refused here."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import tomli_w

from mssbench.errors import GateError, RegistryError, SuiteError, nearest, unknown
from mssbench.records.cell import Cell
from mssbench.records.policy import Policy
from mssbench.results.parts import Part
from mssbench.suite import claims, expand, shards, thresholds
from mssbench.suite.expand import AXES, check_word
from mssbench.suite.shards import Shard
from mssbench.suite.shipped import of_runs, of_trainings

_POLICY = tuple(f.name for f in fields(Policy))
MEASURE: dict[str, Any] = {
    **{name: getattr(Policy(), name) for name in _POLICY},
    "timeout_seconds": 60.0,  # of a method in one cell; problem and reference do not count
    "max_error": thresholds.MAX_ERROR,
    "minutes": 0.0,  # after which a run ends, with fewer passes or samples; 0: when all is measured
}
LIMITS = ("timeout_seconds", "minutes")  # keys of MEASURE that do not change how times are measured
_EFFORT = ("min_seconds", "min_samples", "max_seconds", "warmup_seconds", "interval", "passes")
EFFORTS: dict[str, dict[str, Any]] = {
    name: dict(zip(_EFFORT, values, strict=True))
    for name, values in {
        "smoke": (0.0, 3, 0.2, 0.0, 1.0, 1),
        "quick": (0.05, 10, 0.5, 0.01, 0.05, 2),
        "standard": (0.2, 20, 2.0, 0.05, 0.02, 2),
        "rigorous": (1.0, 50, 20.0, 0.2, 0.01, 3),
    }.items()
}
_MOST_VALUES = 1000  # of one --set: splitting them takes a time that grows with their square
_MOST_LISTED = 30  # methods that a message lists
_SHOWN = 100  # characters of a --set in a message
_TOP = ("name", "description", "axes", "method", "exclude", "measure", "check", "claim")


@dataclass(frozen=True)
class OwnMatrices:
    """The user's own matrices, which take the place of a suite's problems, sizes and batches."""

    name: str  # the file's, without folder and ending
    problem: str  # canonical
    size: int
    batch: int  # how many there are


@dataclass(frozen=True)
class Suite:
    """A checked suite: its cells in the order they will run, and how they are measured."""

    name: str
    description: str
    document: Mapping[str, Any]  # effective: overrides and effort applied
    cells: tuple[Cell, ...]
    measure: Mapping[str, Any]  # every key of MEASURE
    narrowed: str = ""  # by this condition on its cells
    dropped_by_condition: tuple[Cell, ...] = ()  # the cells for which it does not hold
    shard: Shard | None = None  # the part of the cells that is measured here, if not all
    of_all_shards: tuple[Cell, ...] = ()  # the cells of all shards, if there are shards

    @property
    def policy(self) -> Policy:
        """How long and how often each cell is sampled."""
        return Policy(**{name: self.measure[name] for name in _POLICY})

    @property
    def minutes(self) -> float | None:
        """How long a run may take, in minutes; None: until everything is measured."""
        return self.measure["minutes"] or None

    def only(self, cells: Iterable[Cell], condition: str = "") -> "Suite":
        """Return the suite with these cells only, the ones for which the condition holds."""
        kept = tuple(cells)
        others = {cell.cell_id for cell in kept}
        dropped = tuple(cell for cell in self.cells if cell.cell_id not in others)
        return replace(
            self,
            cells=kept,
            narrowed=condition,
            dropped_by_condition=self.dropped_by_condition + dropped,
        )

    @property
    def digest(self) -> str:
        """A text that tells runs with other cells, or that measure them otherwise, from this one.

        The shards of a suite have the same.
        """
        measured = {key: value for key, value in self.measure.items() if key not in LIMITS}
        return shards.digest(self.of_all_shards or self.cells, measured)

    def sharded(self, shard: Shard) -> "Suite":
        """Return the suite with the cells of one shard only.

        Raises SuiteError if there are more shards than cells.
        """
        kept = shards.cells_of(shard, self.cells)
        return self._of_shard(shard, kept)

    def in_shards(self, count: int) -> list["Suite"]:
        """Return the suites of all shards, dealt once, each as `sharded` returns it."""
        dealt = shards.deal(self.cells, count)
        return [self._of_shard(Shard(i, count), kept) for i, kept in enumerate(dealt, start=1)]

    def _of_shard(self, shard: Shard, cells: Iterable[Cell]) -> "Suite":
        """Return the suite of a shard. cells: those that it has."""
        return replace(self, cells=tuple(cells), shard=shard, of_all_shards=self.cells)

    def part(self) -> Part | None:
        """Return what a run of this shard has, for the facts of its folder; None for no shard."""
        if self.shard is None:
            return None
        here = {cell.cell_id for cell in self.cells}
        places = {c.cell_id: i for i, c in enumerate(self.of_all_shards) if c.cell_id in here}
        return Part(
            self.shard.of,
            len(self.of_all_shards),
            self.digest,
            {self.shard.number: places},
        )

    @property
    def all_cell_ids(self) -> set[str]:
        """The cell_id of every cell of the suite.

        Those that a condition has dropped, and those of other shards, are included.
        """
        every = (*self.cells, *self.of_all_shards, *self.dropped_by_condition)
        return {cell.cell_id for cell in every}


def find(name: str) -> Path:
    """Return the file of a suite. name: its path, or the name of a shipped suite.

    Raises SuiteError if there is none.
    """
    path = Path(name)
    if path.suffix == ".toml" or "/" in name:
        if path.is_file():
            return path
        raise SuiteError(f"there is no suite file {name!r}. Shipped: {', '.join(of_runs())}.")
    if name not in of_runs():
        if name in of_trainings():
            raise SuiteError(f"{name!r} is a suite of trainings: use `mssbench train {name}`.")
        raise SuiteError(unknown("suite", name, of_runs()))
    return of_runs()[name]


def load(
    path: Path,
    *,
    auto: str,
    device: str | None = None,
    overrides: Sequence[str] = (),
    effort: str | None = None,
    own: OwnMatrices | None = None,
) -> Suite:
    """Read a suite file, override values of it, check it, and expand it into cells.

    auto: the device that `device = "auto"` means here. device: replaces the suite's devices, if
    given. overrides: texts `KEY=VALUE,VALUE`, where the key is an axis, a method's parameter or a
    [measure] key. effort: a name of EFFORTS, whose values replace those of [measure]. own: replaces
    problem, size and batch; an override may still choose another batch.
    Raises SuiteError for a suite or an override that is invalid. The message names the file or the
    option, the key, and for a misspelt word the nearest valid one.
    """
    document = _read(path)
    with _blaming(str(path)):
        if "training" in document:
            raise SuiteError("this is a suite of `mssbench train`, with [training]: use that.")
        _check_shape(document)
        _measure(document)
        thresholds.of_suite(document)
        _check_claims(document)
    if effort is not None:
        check_word("effort", effort, EFFORTS, "--effort: ")
        document["measure"] = document.get("measure", {}) | EFFORTS[effort]
    if own is not None:
        _replace_matrices(document, own, overrides)
    for override in overrides:
        with _blaming(f"--set {_shortened(override)}"):
            _override(document, override)
    if device is not None:
        with _blaming(f"--device {device}"):
            expand.check_axis("device", device)
        _replace_axis(document, "device", device)
    with _blaming(str(path)):
        measure = _measure(document)
        cells = tuple(expand.expand(document, auto))
        if not cells:
            raise SuiteError("no cell is left: [[exclude]] takes every one.")
    return Suite(document["name"], document.get("description", ""), document, cells, measure)


@contextmanager
def _blaming(source: str) -> Iterator[None]:
    """Put the file or the flag that errors in this context come from before their messages."""
    try:
        yield
    except (SuiteError, RegistryError, GateError) as error:
        raise expand.located(f"{source}: ", error) from None


def dump(document: Mapping[str, Any]) -> str:
    """Return a suite as TOML text. Read back, it gives an equal document.

    Keys keep their order, except that TOML has tables after the other keys of the same table.
    """
    return tomli_w.dumps(document)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if text.startswith("\ufeff"):
            raise SuiteError(
                f"{path}: it begins with a byte order mark, which TOML does not have. Save it as "
                "UTF-8 without one."
            )
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:  # its message has line and column
        raise SuiteError(f"{path}: not valid TOML: {error}") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise SuiteError(f"{path}: cannot be read: {error}") from None
    return document


def _check_shape(document: dict[str, Any]) -> None:
    for key in document:
        check_word("key", key, _TOP)
    for key in ("name", "axes", "method"):
        if key not in document:
            raise SuiteError(f"no {key!r}. A suite has a name, [axes], and one [[method]] or more.")
    name = document["name"]
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise SuiteError(f"name = {name!r} is not a word of letters, digits, _, - and .")
    if not isinstance(description := document.get("description", ""), str):
        raise SuiteError(f"description = {description!r} is not a text.")
    for key in ("axes", "measure"):
        if not isinstance(document.get(key, {}), dict):
            raise SuiteError(f"{key!r} is a table: write [{key}].")
    for key in ("method", "exclude", "claim"):
        tables = document.get(key, [])
        if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
            raise SuiteError(f"{key!r} is a list of tables: write [[{key}]].")
    for key in document["axes"]:
        check_word("axis", key, AXES, "[axes] ")
    axes = document["axes"].items()
    for key, value in [*axes, *(pair for m in document["method"] for pair in m.items())]:
        if isinstance(value, dict):
            raise SuiteError(f"{key!r} is a table: write one value or a list of them.")
    if not document["method"]:
        raise SuiteError("no [[method]]: there is nothing to measure.")
    for key in ("size", "batch"):
        if key not in document["axes"] and any(key not in m for m in document["method"]):
            raise SuiteError(f"[axes] has no {key!r}.")


def _measure(document: Mapping[str, Any]) -> dict[str, Any]:
    given = document.get("measure", {})
    for key, value in given.items():
        check_word("key", key, MEASURE, "[measure] ")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value < float("inf"):
            raise SuiteError(f"[measure] {key} = {value!r} is not a number of 0 or more.")
        if isinstance(MEASURE[key], int) and (not isinstance(value, int) or value < 1):
            raise SuiteError(f"[measure] {key} = {value!r} is not a whole number of 1 or more.")
    if given.get("timeout_seconds") == 0:
        raise SuiteError("[measure] timeout_seconds = 0 leaves no time for any cell.")
    return {**MEASURE, **given}


def _check_claims(document: Mapping[str, Any]) -> None:
    """Check that the claims are about rows that the suite could have on some machine."""
    if tables := document.get("claim"):
        cells = {cell for auto in ("cpu", "cuda") for cell in expand.expand(document, auto)}
        claims.check(tables, cells, expand.check_axis)


def _replace_matrices(document: dict[str, Any], own: OwnMatrices, overrides: Sequence[str]) -> None:
    """Put the user's matrices in place of the suite's problem, size and batch.

    The suite gets another name, so that its run gets a folder of its own. Raises SuiteError if an
    override is of problem or size.
    """
    for override in overrides:
        if (key := override.partition("=")[0].strip()) in ("problem", "size"):
            raise SuiteError(f"--set {override}: --matrices has a {key} of its own. Leave out one.")
    document["name"] += "-" + re.sub(r"[^\w.-]", "_", own.name)
    for axis in ("problem", "size", "batch"):
        _replace_axis(document, axis, getattr(own, axis))


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _override(document: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if (count := value.count(",") + 1) > _MOST_VALUES:
        raise SuiteError(
            f"{count:,} values are more than a command line should hold, which is "
            f"{_MOST_VALUES:,}. Write a range, such as 0:9999:+1, or a suite of your own."
        )
    key, parts = key.strip(), _split(value)
    if not equals or not all(parts):
        raise SuiteError("write KEY=VALUE or KEY=VALUE,VALUE.")
    values = [scalar(v) for v in parts]
    takers = [m for m in document["method"] if key in expand.parameters(m)]
    if key in AXES:
        expand.check_axis(key, values)
        _replace_axis(document, key, values)
    elif key in MEASURE:
        if len(values) != 1:
            raise SuiteError(f"{key} takes one value.")
        _measure({"measure": {key: values[0]}})
        document["measure"] = document.get("measure", {}) | {key: values[0]}
    elif takers:
        expand.check_override(document, key, values)
        for method in takers:
            method[key] = values
    elif key in ("forward", "backward", "backend", "library"):
        raise SuiteError(_how_to_choose("backend" if "/" in value else key, parts, document))
    else:
        known = {p for m in document["method"] for p in expand.parameters(m)}
        raise SuiteError(unknown("key", key, {*AXES, *MEASURE, *known}))


def _how_to_choose(key: str, words: Sequence[str], document: Mapping[str, Any]) -> str:
    """Return how the methods that --set cannot choose are chosen by --only.

    key: backend, library, forward or backward. words: its values. Words that the suite does not
    have are replaced by the nearest ones that it has.
    """
    known = _words_of_methods(key, document)
    wrong = [word for word in words if word not in known]
    meant = [word if word in known else nearest(word, known) or known[0] for word in words]
    one = f"== {meant[0]!r}" if len(meant) == 1 else f"in {meant!r}"

    others = f", but {', '.join(known)}" if len(known) <= _MOST_LISTED else ""
    hint = f" This suite has no {key} {wrong[0]!r}{others}." if wrong else ""
    return f'methods are chosen by --only "{key} {one}".{hint}'


def _words_of_methods(key: str, document: Mapping[str, Any]) -> list[str]:
    """Return the backends, libraries, forwards or backwards of a suite's methods, sorted."""
    methods = [pair for method in document["method"] for pair in expand.pairs(method)]
    words = {
        "backend": {f"{library}/{forward}" for library, forward, _ in methods},
        "library": {library for library, _, _ in methods},
        "forward": {forward for _, forward, _ in methods},
        "backward": {backward for _, _, backward in methods},
    }
    return sorted(words[key])


def _replace_axis(document: dict[str, Any], key: str, values: Any) -> None:
    """Give an axis other values in the whole suite, also in [[method]] tables with their own."""
    document["axes"][key] = values
    for method in document["method"]:
        method.pop(key, None)


def _split(text: str) -> list[str]:
    """Split a text at commas outside parentheses: `logspec(condition=1e6),convfeat` is two."""
    return [part.strip() for part in re.split(r",(?![^(]*\))", text)]


def scalar(text: str) -> Any:
    """Return the value that a text on the command line stands for.

    It is a number, or True or False for `true` and `false`, or otherwise the text itself.
    """
    if re.fullmatch(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?", text):  # not 1_000, nan or infinity
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return {"true": True, "false": False}.get(text, text)
