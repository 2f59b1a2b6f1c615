"""The choice of `forward="auto"`: the pair measured to be fastest near a size and batch.

Two tables hold the measured answers. One is shipped with the package. The other belongs to the
user: `mssbench recommend --save` writes it from runs on this machine, and it takes precedence. Both
contain only pairs that were correct on every kind of matrix, including ill-conditioned and singular
ones, and about as accurate as the default pair.
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
SCHEMA = 1  # version of the table's format; increase it when the meaning of a key changes
SHIPPED = Path(__file__).parent / "auto.json"

# The fastest pair changes slowly with the size, and more slowly with the batch. A measured answer
# applies up to these ratios of size and batch; beyond them the default pair is used.
_MOST_SIZE, _MOST_BATCH = 2.0, 8.0


class Choice(NamedTuple):
    """A pair with its parameters, and the reason for choosing it."""

    forward: str
    backward: str
    parameters: Mapping[str, Any]
    why: str  # where and when it was measured, or why the default pair is used
    measured: bool = False  # whether the choice comes from a table rather than being the default


class Conditions(NamedTuple):
    """The conditions that the choice of a pair depends on."""

    device: str  # cpu | cuda
    function: Function
    gradient: bool  # whether a gradient is needed
    precision: str  # the name of the dtype
    size: int
    batch: int


DEFAULT = ("eigh", "loewner")  # right for every spectrum and size, on every device


def users_table() -> Path:
    """Return the path of the user's table of measured pairs, from which "auto" chooses first.

    The environment variable MSSBENCH_AUTO names it. Without the variable it is mssbench/auto.json
    in the user's data folder, by default ~/.local/share.
    """
    if named := os.environ.get("MSSBENCH_AUTO"):
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "mssbench" / "auto.json"


@lru_cache(maxsize=1024)
def choice(place: Conditions) -> Choice:
    """Return the pair of methods for a place: the nearest answer of a table, or the default pair.

    Choices are cached until `forget` is called.

    Raises InputError if a table cannot be read.
    """
    for path in (users_table(), SHIPPED):
        near = [entry for entry in _entries(path) if _fits(entry, place)]
        if near:
            best = min(near, key=lambda entry: _distance(entry, place))
            return Choice(best["forward"], best["backward"], best["parameters"], _words(best), True)
    return Choice(*DEFAULT, {}, "the default pair: nothing near this size and batch was measured")


@cache
def shipped_runs() -> frozenset[tuple[str, str]]:
    """Return name and date of each run from which the shipped table has answers."""
    return frozenset((entry["run"], entry["date"]) for entry in _entries(SHIPPED))


def forget() -> None:
    """Clear the cache, so that the next call reads the tables again."""
    choice.cache_clear()


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the answers of a table, each a pair with its place; none if the file does not exist."""
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
        "Write it again with `mssbench recommend --save`, or remove it."
    )


def _fits(entry: Mapping[str, Any], place: Conditions) -> bool:
    same = all(entry[name] == getattr(place, name) for name in Conditions._fields[:4])
    return (
        same
        and abs(log2(entry["size"] / place.size)) <= log2(_MOST_SIZE)
        and abs(log2(entry["batch"] / place.batch)) <= log2(_MOST_BATCH)
    )


def _distance(entry: Mapping[str, Any], place: Conditions) -> float:
    """Return the distance of an answer from a place, in powers of 2; the size has weight 2."""
    size, batch = entry["size"] / place.size, entry["batch"] / place.batch
    return 2 * abs(log2(size)) + abs(log2(batch))


def _words(entry: Mapping[str, Any]) -> str:
    return (
        f"the fastest that is right on every kind of matrix at n = {entry['size']}, batch "
        f"{entry['batch']}, measured in {entry['run']} on {entry['machine']}, {entry['date']}"
    )
