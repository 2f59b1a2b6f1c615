"""`forward="auto"`: the pair that was measured to be fastest near a size and batch.

Two small tables say what was measured. One comes with the package. The other is a user's own, which
`mssbench recommend --save` writes from the runs of a machine, and which is asked first. Both hold
only pairs that are right on every kind of matrix, hard ones among them, and about as accurate there
as the default pair.
"""

import json
import os
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from math import log2
from pathlib import Path
from typing import Any, NamedTuple

from mssbench.errors import InputError
from mssbench.methods.method import Function

NAME = "auto"  # as a forward; no method can have this name
SCHEMA = 1  # of the table; a change of what a key means needs a new number
SHIPPED = Path(__file__).parent / "auto.json"

# Which pair is fastest changes slowly with the size, and more slowly with the batch. A place that
# was measured speaks for others up to these ratios; beyond them the default pair is taken.
_MOST_SIZE, _MOST_BATCH = 2.0, 8.0


class Choice(NamedTuple):
    """A pair with its parameters, and what it rests on."""

    forward: str
    backward: str
    parameters: Mapping[str, Any]
    why: str  # where and when it was measured, or why the default pair is taken
    measured: bool = False  # whether it was, near the place that was asked about


class Place(NamedTuple):
    """What a choice depends on."""

    device: str  # cpu | cuda
    function: Function
    gradient: bool  # whether a gradient will be asked for
    precision: str  # the name of the dtype
    size: int
    batch: int


DEFAULT = ("eigh", "loewner")  # right for every spectrum and size, on every device


def users_table() -> Path:
    """The file of a user's own answers: MSSBENCH_AUTO, else auto.json in the user's data folder."""
    if named := os.environ.get("MSSBENCH_AUTO"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "mssbench" / "auto.json"


@lru_cache(maxsize=1024)
def choice(place: Place) -> Choice:
    """The pair for a place. It is looked up once; `forget` has the tables read again.

    Raises InputError for a user's table that cannot be read.
    """
    for path in (users_table(), SHIPPED):
        near = [entry for entry in _entries(path) if _fits(entry, place)]
        if near:
            best = min(near, key=lambda entry: _distance(entry, place))
            return Choice(best["forward"], best["backward"], best["parameters"], _words(best), True)
    return Choice(*DEFAULT, {}, "the default pair: nothing near this size and batch was measured")


@cache
def shipped_runs() -> frozenset[tuple[str, str]]:
    """The runs that come with the package and answer something: their names, and their days."""
    return frozenset((entry["run"], entry["date"]) for entry in _entries(SHIPPED))


def forget() -> None:
    """Read the tables again when the next root is asked for."""
    choice.cache_clear()


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """The answers of a table; none where there is no such file."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        if table["schema"] != SCHEMA:
            raise InputError(_unreadable(path, f"it has schema {table['schema']}, not {SCHEMA}"))
        yield from table["choices"]
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(_unreadable(path, f"{type(error).__name__}: {error}")) from None


def _unreadable(path: Path, why: str) -> str:
    return (
        f'the table of forward="auto", {path}, cannot be read: {why}. '
        "Write it anew with `mssbench recommend --save`, or remove it."
    )


def _fits(entry: Mapping[str, Any], place: Place) -> bool:
    same = all(entry[name] == getattr(place, name) for name in Place._fields[:4])
    return (
        same
        and abs(log2(entry["size"] / place.size)) <= log2(_MOST_SIZE)
        and abs(log2(entry["batch"] / place.batch)) <= log2(_MOST_BATCH)
    )


def _distance(entry: Mapping[str, Any], place: Place) -> float:
    """How far apart two places are; a factor of the size counts as two of the batch."""
    size, batch = entry["size"] / place.size, entry["batch"] / place.batch
    return 2 * abs(log2(size)) + abs(log2(batch))


def _words(entry: Mapping[str, Any]) -> str:
    return (
        f"the fastest that is right on every kind of matrix at n = {entry['size']}, batch "
        f"{entry['batch']}, measured in {entry['run']} on {entry['machine']}, {entry['date']}"
    )
