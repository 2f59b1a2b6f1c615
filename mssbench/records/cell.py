"""`Cell`, one thing to measure: a pair of methods, a problem, a size and so on, as one record."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any

# Values of `Cell.function` other than `sqrt` and `isqrt`:
APPLIED = "isqrt_b"  # A^{-1/2} b for one vector b per matrix
OF_FEATURES = "sqrt_x"  # (X Xᵀ / M)^{1/2} as a function of features X
WHITENING = "whiten"  # a W with W A Wᵀ = I
LOGARITHM = "log"  # log A
# Functions that are measured with torch only, as autograd runs them.
OTHER_FUNCTIONS = (OF_FEATURES, WHITENING, LOGARITHM)


# By which clock a row is timed, see `clocks`.
CLOCKS = WALL, GPU, GRAPH = ("wall", "gpu", "graph")
# Whether the caches of the device still hold the data of earlier calls when a sample begins.
CACHES = HOT, COLD = ("hot", "cold")

# The JSON of a value. A sweep may have a hundred thousand cells, whose values repeat; typed, since
# 1 and True are equal, but their JSON is not.
_as_json = lru_cache(maxsize=4096, typed=True)(json.dumps)


@dataclass(frozen=True)
class Cell:
    """One thing to measure: a combination of methods, problem, size, batch, precision and device.

    Its fields, with phase, clock and cache, are the key of a row of the result table.
    """

    library: str  # torch | numpy | cupy
    forward: str
    backward: str  # none: only the forward is timed; otherwise the backward and the step
    function: str  # sqrt | isqrt | isqrt_b | sqrt_x | whiten | log
    problem: str  # in canonical form, with every parameter
    size: int  # n of (batch, n, n)
    batch: int
    iterations: int | None  # None for a direct method
    backward_iterations: int | None
    options: str  # all other parameters, sorted by name: `backward_norm=... norm=trace`
    precision: str
    device: str  # cpu | cuda
    seed: int

    @cached_property
    def cell_id(self) -> str:
        """Identifier of 16 hex digits, the same in every run and on every machine.

        It is a hash of the fields as JSON, with their names in alphabetical order.
        """
        parts = [f"{name}{_as_json(getattr(self, field))}" for field, name in _NAMED]
        return hashlib.sha256(f"{{{', '.join(parts)}}}".encode()).hexdigest()[:16]

    @property
    def fields(self) -> dict[str, Any]:
        """Every field with its value: `dataclasses.asdict`, but ten times as fast."""
        return {name: getattr(self, name) for name in CELL_KEY}

    @property
    def backend(self) -> str:
        """Library and forward as one word, such as `torch/eigh`."""
        return f"{self.library}/{self.forward}"

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of forward and backward by name; the latter ones start with `backward_`."""
        given = {"iterations": self.iterations, "backward_iterations": self.backward_iterations}
        return {k: v for k, v in given.items() if v is not None} | parse_options(self.options)

    def __str__(self) -> str:
        steps = f" k={self.iterations}" if self.iterations is not None else ""
        pair = self.backend if self.backward == "none" else f"{self.backend} + {self.backward}"
        return (
            f"{pair}{steps} {self.function} n={self.size} b={self.batch} "
            f"{self.precision} {self.device} {self.problem}"
        )


# `name=word` or `name="any text"`, followed by a blank or the end of the text.
_OPTION = re.compile(r'([^\s=]*)(?:=("(?:[^"\\]|\\.)*"(?!\S)|\S*))?(?:\s+|$)')


def format_options(options: Mapping[str, Any]) -> str:
    """Return options as one text, such as `degree=5 norm=trace`, sorted by name.

    Numbers are written as JSON. So is a text that would otherwise be read back as another value,
    for example `"7"`, `"true"`, `"a b"` or the empty text.
    """
    return " ".join(f"{k}={_spelled(v)}" for k, v in sorted(options.items()))


def _spelled(value: Any) -> str:
    if isinstance(value, str) and _is_word(value):
        return value
    return json.dumps(value)


def _is_word(text: str) -> bool:
    """Whether a text, written without quotes, is read back unchanged."""
    plain = text.isprintable() and not any(map(str.isspace, text))
    return plain and not text.startswith('"') and bool(text) and _value(text) == text


def parse_options(text: str) -> dict[str, Any]:
    """Return the options of a text: the inverse of `format_options`.

    A word without `=`, as a table of another program may contain, becomes a name with an empty
    value.
    """
    pairs = (match.groups() for match in _OPTION.finditer(text.strip()))
    return {k: "" if v is None else _value(v) for k, v in pairs if k or v}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


CELL_KEY: tuple[str, ...] = tuple(f.name for f in fields(Cell))
_NAMED = tuple((name, f'"{name}": ') for name in sorted(CELL_KEY))  # the fields, and their JSON


def phases(cell: Cell) -> tuple[str, ...]:
    """Return the phases of a cell: the kinds of calls that are timed.

    They are `backward` and `step`, which is a forward and its backward together, or `forward` for
    a cell without a backward.
    """
    return ("forward",) if cell.backward == "none" else ("backward", "step")


def clocks(cell: Cell) -> tuple[tuple[str, str], ...]:
    """Return the pairs (clock, cache) by which each phase is timed; each of them has its own row.

    Clock: `wall` for the time that a caller waits; on a GPU also `gpu` for the time that the device
    works, and `graph` for the replay of a CUDA graph. Cache: `cold` if it is flushed before each
    sample, else `hot`.
    """
    if cell.device == "cuda":
        return ((WALL, HOT), (GPU, COLD), (GPU, HOT), (GRAPH, HOT))
    return ((WALL, HOT),)
