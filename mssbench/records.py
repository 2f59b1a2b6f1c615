"""The vocabulary on disk: what is measured (`Cell`), what came out (`Measurement`), its columns."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import cached_property
from math import sqrt
from typing import Any, NamedTuple


class Status(StrEnum):
    """How a cell ended. The text beside each is what its reason explains further."""

    OK = "ok"
    NONFINITE = "nonfinite"  # nan or inf in the output
    DIVERGED = "diverged"  # finite, but further from the truth than the zero matrix
    INACCURATE = "inaccurate"  # the error exceeds the suite's max_error
    IMPLAUSIBLE = "implausible"  # faster than the machine's own ceilings allow
    OOM = "oom"  # out of memory
    TIMEOUT = "timeout"  # killed when it overstayed
    CRASHED = "crashed"  # raised, broke the contract, or took its worker down
    UNSUPPORTED = "unsupported"  # the method or problem does not exist for this cell
    NOT_INSTALLED = "not_installed"  # a package is missing
    UNAVAILABLE = "unavailable"  # installed, but no device or driver for it
    INTERRUPTED = "interrupted"  # the run was stopped before it


# Measured, and the time is real; only OK may win a comparison.
MEASURED = frozenset(
    {Status.OK, Status.NONFINITE, Status.DIVERGED, Status.INACCURATE, Status.IMPLAUSIBLE}
)
# Nothing ran, nor could it: the machine or the method lacks what the cell needs.
ABSENT = frozenset({Status.UNSUPPORTED, Status.NOT_INSTALLED, Status.UNAVAILABLE})


APPLIED = "isqrt_b"  # A^{-1/2} b for one vector a matrix: a cell's function beside the roots


@dataclass(frozen=True)
class Cell:
    """One point of the sweep. With phase, clock and cache, its fields are the key of a row."""

    library: str  # torch | numpy | cupy
    forward: str
    backward: str  # none: the forward is timed; else backward and step are
    function: str  # sqrt | isqrt | isqrt_b
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
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

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


def format_options(options: Mapping[str, Any]) -> str:
    """`degree=5 norm=trace`: sorted, numbers as JSON writes them."""
    return " ".join(
        f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in sorted(options.items())
    )


def parse_options(text: str) -> dict[str, Any]:
    """The inverse of `format_options`."""
    return {k: _value(v) for k, v in (word.split("=", 1) for word in text.split())}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


class Stop(StrEnum):
    """Why sampling ended."""

    PRECISION = "precision"  # the interval of the median is as narrow as asked
    TIME = "max_seconds"
    SAMPLES = "max_samples"


class Timing(NamedTuple):
    """Seconds per call: raw samples, and how they were taken."""

    samples: tuple[float, ...]
    calls: int  # invocations inside one sample
    first_call: float  # the very first call, with everything it loads or compiles
    stop: Stop = Stop.PRECISION

    def statistics(self) -> dict[str, Any]:
        """The time columns. Nothing is discarded: the samples are kept beside them."""
        x = sorted(self.samples)
        low, high = median_interval(len(x))
        return {
            "seconds_min": x[0],
            "seconds_q1": quantile(x, 0.25),
            "seconds_median": quantile(x, 0.5),
            "seconds_q3": quantile(x, 0.75),
            "seconds_low": x[low],
            "seconds_high": x[high],
            "samples": len(x),
            "calls": self.calls,
            "stop": str(self.stop),
            "passes": 1,
            "first_call_seconds": self.first_call,
        }


def quantile(ordered: Sequence[float], q: float) -> float:
    """Linear between the two nearest order statistics."""
    position = q * (len(ordered) - 1)
    i = int(position)
    j = min(i + 1, len(ordered) - 1)
    return ordered[i] + (ordered[j] - ordered[i]) * (position - i)


def median_interval(count: int) -> tuple[int, int]:
    """Indices of the order statistics that hold the median with 95 % confidence.

    Ranks (N ∓ 1.96 √N) / 2 from the binomial law; with fewer than 6 samples no such pair exists
    and the interval is the whole range.
    """
    half = 0.98 * sqrt(count)
    low = max(int(count / 2 - half), 0)
    return low, min(count - 1 - low, count - 1)


class Column(NamedTuple):
    """One column of the table: the group it belongs to, its type, its unit and its meaning."""

    name: str
    group: str  # key | outcome | time | work | memory | error | identity
    kind: str  # str | int | float | bool
    unit: str
    meaning: str


PROTOCOL_VERSION = 4  # of the lines between a worker and its supervisor; see worker.py
# History of the schema: 1, the first; 2, root_mae; 3, passes, noise, counts, limits; 4, what tells
# whether two runs had the same input, and how far its rounding may carry.
SCHEMA_VERSION = 4
SCHEMA: tuple[Column, ...] = (
    Column("library", "key", "str", "", "array library"),
    Column("forward", "key", "str", "", "method that computes the root"),
    Column("backward", "key", "str", "", "method that computes the gradient, or none"),
    Column("function", "key", "str", "", "sqrt, isqrt, or isqrt_b: A^{-1/2} b of one vector"),
    Column("problem", "key", "str", "", "generator of the matrices with its parameters"),
    Column("size", "key", "int", "", "n of (batch, n, n)"),
    Column("batch", "key", "int", "", "matrices in the batch"),
    Column("iterations", "key", "int", "", "steps of the forward; null for a direct method"),
    Column("backward_iterations", "key", "int", "", "steps of the backward; null if direct"),
    Column("options", "key", "str", "", "every other parameter of the pair"),
    Column("precision", "key", "str", "", "storage and product rule"),
    Column("device", "key", "str", "", "cpu or cuda"),
    Column("seed", "key", "int", "", "of the problem"),
    Column("phase", "key", "str", "", "forward, backward, or step (both)"),
    Column("clock", "key", "str", "", "wall (what a caller waits), gpu (device) or graph (replay)"),
    Column("cache", "key", "str", "", "cold: emptied before each sample; hot: left as it is"),
    Column("status", "outcome", "str", "", "how it ended"),
    Column("reason", "outcome", "str", "", "why, or what to do"),
    Column("seconds_min", "time", "float", "s", "fastest sample, per call"),
    Column("seconds_q1", "time", "float", "s", "lower quartile"),
    Column("seconds_median", "time", "float", "s", "median"),
    Column("seconds_q3", "time", "float", "s", "upper quartile"),
    Column("seconds_low", "time", "float", "s", "95 % interval of the median, lower end"),
    Column("seconds_high", "time", "float", "s", "95 % interval of the median, upper end"),
    Column("samples", "time", "int", "", "number of samples"),
    Column("calls", "time", "int", "", "calls inside one sample"),
    Column("stop", "time", "str", "", "why sampling ended: precision, max_seconds, max_samples"),
    Column("passes", "time", "int", "", "passes over the suite whose samples are pooled here"),
    Column("spread", "time", "float", "1", "how far apart the medians of the passes lie"),
    Column("noise", "time", "str", "", "quiet, noisy or unstable: what difference would show"),
    Column("host_sync", "time", "bool", "", "the call itself waits for the device"),
    Column("flags", "time", "str", "", "what may have disturbed it: loaded, throttled, ..."),
    Column("first_call_seconds", "time", "float", "s", "the very first call"),
    Column("gemms", "work", "float", "1", "median in batched products of the same shape"),
    Column("products", "work", "float", "1", "batched products of n x n matrices in one call"),
    Column("operators", "work", "int", "", "array operations of one call"),
    Column("launches", "work", "int", "", "kernels of one call, if it can be captured as a graph"),
    Column("flops", "work", "float", "1", "floating-point operations of its products"),
    Column("limit_seconds", "work", "float", "s", "what this machine's ceilings allow that work"),
    Column("limit_fraction", "work", "float", "1", "limit_seconds / seconds_median"),
    Column("problem_fraction", "work", "float", "1", "lowest limit at that error / seconds_median"),
    Column("bound", "work", "str", "", "what limits: compute, memory or launches"),
    Column("peak_bytes", "memory", "float", "B", "largest extra memory during one call"),
    Column("saved_bytes", "memory", "float", "B", "kept from forward to backward, root included"),
    Column("root_error", "error", "float", "1", "||Y - Y*|| / ||Y*||, Frobenius, worst checked"),
    Column("root_mae", "error", "float", "1", "mean |Y - Y*| of an entry, mean over the checked"),
    Column("residual", "error", "float", "1", "||Y Y - A|| / ||A|| or ||Z A Z - I|| / ||I||"),
    Column("gradient_error", "error", "float", "1", "||S - S*|| / ||S*||, worst checked"),
    Column("asymmetry", "error", "float", "1", "||Y - Yt|| / ||Y||, worst checked"),
    Column("nonfinite", "error", "int", "", "matrices of the batch with a nan or inf"),
    Column("reference_error", "error", "float", "1", "how far the reference itself may be off"),
    Column("condition", "error", "float", "1", "of the matrix A, worst checked"),
    Column("checked", "error", "int", "", "matrices compared with the reference"),
    Column("fingerprint", "identity", "float", "1", "of the input; the same on every machine"),
    Column("cell_id", "identity", "str", "", "names the cell, the same everywhere"),
    Column("code_hash", "identity", "str", "", "of the code that was measured"),
    Column("environment", "identity", "str", "", "key into environment.json"),
    Column("run_id", "identity", "str", "", "the run that measured it"),
    Column("schema", "identity", "int", "", "version of these columns"),
)
COLUMNS: tuple[str, ...] = tuple(c.name for c in SCHEMA)
KEY: tuple[str, ...] = tuple(c.name for c in SCHEMA if c.group == "key")
CELL_KEY: tuple[str, ...] = tuple(f.name for f in fields(Cell))


@dataclass(frozen=True)
class Measurement:
    """What one phase of one cell gave on one clock: a row. `values` has the measured columns."""

    cell: Cell
    phase: str
    clock: str
    cache: str
    status: Status
    reason: str = ""
    values: Mapping[str, Any] | None = None  # column -> number; absent means null
    timing: Timing | None = None

    def row(self, **identity: Any) -> dict[str, Any]:
        """Every column of the schema; a number that was not measured is None, a word empty."""
        known: dict[str, Any] = {
            **asdict(self.cell),
            "phase": self.phase,
            "clock": self.clock,
            "cache": self.cache,
            "status": str(self.status),
            "reason": one_line(self.reason),
            **(self.timing.statistics() if self.timing else {}),
            **(self.values or {}),
            "cell_id": self.cell.cell_id,
            "schema": SCHEMA_VERSION,
            **identity,
        }
        return {c.name: known.get(c.name, "" if c.kind == "str" else None) for c in SCHEMA}


def phases(cell: Cell) -> tuple[str, ...]:
    """A cell with a backward times it alone and with its forward; else the plain forward."""
    return ("forward",) if cell.backward == "none" else ("backward", "step")


def clocks(cell: Cell) -> tuple[tuple[str, str], ...]:
    """Clock and cache state of each row of a phase; on a GPU the device's own clocks as well."""
    if cell.device == "cuda":
        return (("wall", "hot"), ("gpu", "cold"), ("gpu", "hot"), ("graph", "hot"))
    return (("wall", "hot"),)


def uniform(cell: Cell, status: Status, reason: str) -> tuple[Measurement, ...]:
    """The rows of a cell that ended the same way in every phase, before any number."""
    return tuple(
        Measurement(cell, phase, clock, cache, status, reason)
        for phase in phases(cell)
        for clock, cache in clocks(cell)
    )


def one_line(text: str, limit: int = 400) -> str:
    """Text fit for a table cell: no line breaks, not endless, and UTF-8 can hold it."""
    flat = " ".join(text.split()).encode(errors="replace").decode()
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
