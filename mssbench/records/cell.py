"""One point of a sweep, and its parameters as text."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

# The functions of a cell beside the roots of A:
APPLIED = "isqrt_b"  # A^{-1/2} b for one vector a matrix
OF_FEATURES = "sqrt_x"  # (X Xᵀ / M)^{1/2} as a function of features X
WHITENING = "whiten"  # a W with W A Wᵀ = I
LOGARITHM = "log"  # log A
OTHER_FUNCTIONS = (OF_FEATURES, WHITENING, LOGARITHM)  # of torch alone, as autograd runs them


# `json.dumps` would make a new one for each of a hundred thousand cells.
_SORTED = json.JSONEncoder(sort_keys=True)


@dataclass(frozen=True)
class Cell:
    """One point of the sweep. With phase, clock and cache, its fields are the key of a row."""

    library: str  # torch | numpy | cupy
    forward: str
    backward: str  # none: the forward is timed; else backward and step are
    function: str  # sqrt | isqrt | isqrt_b | sqrt_x | whiten | log
    problem: str  # canonical, with every parameter
    size: int  # n of (batch, n, n)
    batch: int
    iterations: int | None  # None: a direct method
    backward_iterations: int | None
    options: str  # every other parameter, `norm=trace backward_norm=...`, in order
    precision: str
    device: str  # cpu | cuda
    seed: int

    @cached_property
    def cell_id(self) -> str:
        """16 hex digits that name this cell, the same in every run and on every machine."""
        text = _SORTED.encode(self.fields)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def fields(self) -> dict[str, Any]:
        """Every field with its value, as `dataclasses.asdict` has them in a tenth of the time."""
        return {name: getattr(self, name) for name in CELL_KEY}

    @property
    def backend(self) -> str:
        """`torch/eigh`."""
        return f"{self.library}/{self.forward}"

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters of the pair, those of the backward after `backward_`."""
        given = {"iterations": self.iterations, "backward_iterations": self.backward_iterations}
        return {k: v for k, v in given.items() if v is not None} | parse_options(self.options)

    def __str__(self) -> str:
        steps = f" k={self.iterations}" if self.iterations is not None else ""
        pair = self.backend if self.backward == "none" else f"{self.backend} + {self.backward}"
        return (
            f"{pair}{steps} {self.function} n={self.size} b={self.batch} "
            f"{self.precision} {self.device} {self.problem}"
        )


# `name=word` or `name="any text"`, up to a blank or the end; a table of ours has nothing else.
_OPTION = re.compile(r'([^\s=]*)(?:=("(?:[^"\\]|\\.)*"(?!\S)|\S*))?(?:\s+|$)')


def format_options(options: Mapping[str, Any]) -> str:
    """`degree=5 norm=trace`: sorted, numbers as JSON writes them.

    So is a text that could be taken for something else: `"7"`, `"true"`, `"a b"`, or the empty one.
    """
    return " ".join(f"{k}={_spelled(v)}" for k, v in sorted(options.items()))


def _spelled(value: Any) -> str:
    if isinstance(value, str) and _is_word(value):
        return value
    return json.dumps(value)


def _is_word(text: str) -> bool:
    """Whether a text that stands alone is read back as itself."""
    plain = text.isprintable() and not any(map(str.isspace, text))
    return plain and not text.startswith('"') and bool(text) and _value(text) == text


def parse_options(text: str) -> dict[str, Any]:
    """The inverse of `format_options`. What is not of its form, in a table, is a word by itself."""
    found = (match.groups() for match in _OPTION.finditer(text.strip()))
    return {k: "" if v is None else _value(v) for k, v in found if k or v}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


CELL_KEY: tuple[str, ...] = tuple(f.name for f in fields(Cell))


def phases(cell: Cell) -> tuple[str, ...]:
    """A cell with a backward times it alone and with its forward; else the plain forward."""
    return ("forward",) if cell.backward == "none" else ("backward", "step")


def clocks(cell: Cell) -> tuple[tuple[str, str], ...]:
    """Clock and cache state of each row of a phase; on a GPU the device's own clocks as well."""
    if cell.device == "cuda":
        return (("wall", "hot"), ("gpu", "cold"), ("gpu", "hot"), ("graph", "hot"))
    return (("wall", "hot"),)
