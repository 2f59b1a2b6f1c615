"""One cell on the bench: its calls verified, weighed, timed, and verified again.

What is timed has been verified on the inputs that are timed, and the output of the last timed call
is verified once more. Errors are the worse of the two.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from mssbench import arrays, memory, registry, roots
from mssbench.arrays import Array
from mssbench.clock import Call, Clock, CudaClock, HostClock, Policy, Prepare, Spent, sample
from mssbench.records import Cell, Measurement, Timing, clocks, phases
from mssbench.truth import Truth

_MOST_PREPARED_BYTES = 2**28  # recorded forwards that may wait for their backward at once


@dataclass(frozen=True)
class Settings:
    """How a run measures; one for all its cells."""

    policy: Policy = field(default_factory=Policy)
    max_error: float = 0.1  # a root or gradient without one right digit is `inaccurate`


class Violation(Exception):  # noqa: N818
    """A method broke its contract: wrong shape, type or library, or it wrote into its input."""


class Calls(NamedTuple):
    """What is timed in one phase."""

    prepare: Prepare  # builds what one call consumes
    call: Call  # -> root, or (root, gradient)


class First(NamedTuple):
    """The very first call of a phase, verified."""

    seconds: float
    errors: Mapping[str, Any]


@dataclass
class Bench:
    """A cell with its arrays, and the truth to hold against them."""

    cell: Cell
    pair: roots.Pair
    a: Array  # (b, n, n)
    g: Array  # (b, n, n)
    truth: Truth
    settings: Settings
    spent: Spent

    def run(self) -> Iterator[Measurement]:
        """The rows of every phase. Raises Violation, and whatever the method raises."""
        calls = {phase: self._calls(phase) for phase in phases(self.cell)}
        first = {phase: self._first(phase, calls[phase]) for phase in calls}
        start = time.perf_counter()
        weights = self._weigh()
        # the call itself warms up; what weighs it is the harness's own
        self.spent.warmup += min(
            time.perf_counter() - start, max(f.seconds for f in first.values())
        )
        for phase in calls:
            for clock in clocks(self.cell):
                yield self._timed(phase, clock, calls[phase], first[phase], weights[phase])

    def _calls(self, phase: str) -> Calls:
        """Torch is measured as autograd runs it; the other libraries by calling the backward."""
        pair, a, g = self.pair, self.a, self.g
        if self.cell.library == "torch":
            if phase == "forward":
                return Calls(_nothing, torch.inference_mode()(lambda _: pair.field(a)))
            if phase == "step":
                return Calls(lambda: _leaf(a), lambda leaf: _replay(_record(pair, leaf), g))
            return Calls(
                lambda: _record(pair, _leaf(a)),
                lambda graph: _replay(graph, g),
            )
        if phase == "forward":
            return Calls(_nothing, lambda _: pair.field(a))
        if phase == "step":
            return Calls(_nothing, lambda _: _explicit(pair, pair.keep(a), g))
        return Calls(lambda: pair.keep(a), lambda root: _explicit(pair, root, g))

    def _first(self, phase: str, calls: Calls) -> First:
        synchronize = _synchronize(self.cell.device)
        start = time.perf_counter()
        prepared = calls.prepare()
        synchronize()
        middle = time.perf_counter()
        output = calls.call(prepared)
        synchronize()
        end = time.perf_counter()
        self.spent.warmup += end - start
        return First(end - middle, self._verify(phase, output))

    def _timed(
        self, phase: str, clock: str, calls: Calls, first: First, weight: Mapping[str, int | None]
    ) -> Measurement:
        last: list[Any] = [None]

        def keep(prepared: Any) -> None:
            last[0] = calls.call(prepared)

        cell, policy = self.cell, self.settings.policy
        with _collected():
            timing = sample(
                _clock(clock, cell.device), calls.prepare, keep, policy,
                first_call=first.seconds, most_calls=_most_calls(phase, weight), spent=self.spent,
            )  # fmt: skip
        values = _worst(first.errors, self._verify(phase, last[0]))
        status, reason = self.truth.judge(phase, values, self.settings.max_error)
        anchor = anchor_seconds(cell, clock, policy, self.spent)
        values |= {**weight, "gemms": timing.statistics()["seconds_median"] / anchor}
        known = {k: v for k, v in values.items() if v == v}  # a nan error is no number: null
        return Measurement(cell, phase, clock, "hot", status, reason, known, timing)

    def _verify(self, phase: str, output: Any) -> dict[str, Any]:
        """The error columns of one output. Raises Violation for the wrong kind of array."""
        if phase == "forward":
            self._require_like_input("root", output)
            return self.truth.root_errors(output)
        y, s = output
        self._require_like_input("root", y)
        self._require_like_input("gradient", s)
        return self.truth.root_errors(y) | self.truth.gradient_errors(s)

    def _require_like_input(self, name: str, x: Array) -> None:
        a = self.a
        if not isinstance(x, type(a)):
            raise Violation(f"the {name} is a {type(x).__module__}.{type(x).__name__}")
        if tuple(x.shape) != tuple(a.shape):
            raise Violation(f"the {name} has shape {tuple(x.shape)}, not {tuple(a.shape)}")
        if x.dtype != a.dtype:
            got, due = arrays.dtype_name(x), arrays.dtype_name(a)
            raise Violation(f"the {name} has dtype {got}, not {due}")

    def _weigh(self) -> dict[str, dict[str, int | None]]:
        """The memory columns by phase, from one call that is not timed.

        Results stay alive until the watch has ended, as a caller would keep them.
        """
        pair, a, g = self.pair, self.a, self.g
        with memory.peak(self.cell.library, self.cell.device) as peak:
            if self.cell.backward == "none":
                kept: Any = self._calls("forward").call(None)
            elif self.cell.library == "torch":
                with memory.saved_for_backward() as found:
                    leaf, y = _record(pair, _leaf(a))
                peak.mark()
                kept = _replay((leaf, y), g)
            else:
                root = pair.keep(a)
                peak.mark()
                kept = _explicit(pair, root, g)
        del kept
        if self.cell.backward == "none":
            return {"forward": {"peak_bytes": peak.whole}}
        torch_cell = self.cell.library == "torch"
        saved = found.bytes(y, leaf) if torch_cell else memory.root_bytes(root)
        return {
            "backward": {"peak_bytes": peak.second, "saved_bytes": saved},
            "step": {"peak_bytes": peak.whole, "saved_bytes": saved},
        }


def _most_calls(phase: str, weight: Mapping[str, int | None]) -> int:
    """How many calls a sample may have: a backward consumes a recorded forward each."""
    if phase != "backward":
        return 10_000
    return max(1, min(1000, _MOST_PREPARED_BYTES // max(weight["saved_bytes"] or 1, 1)))


def _nothing() -> None:
    """A plain forward consumes nothing."""


def _leaf(a: Array) -> Array:
    """The same matrices as the root of a new graph."""
    return a.detach().requires_grad_()


def _record(pair: roots.Pair, leaf: Array) -> tuple[Array, Array]:
    """A fresh graph: (leaf, root)."""
    return leaf, pair(leaf)


def _replay(graph: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    """(root, gradient) of a recorded graph, which is used up."""
    leaf, y = graph
    (s,) = torch.autograd.grad(y, leaf, g)
    return y, s


def _explicit(pair: roots.Pair, root: registry.Root, g: Array) -> tuple[Array, Array]:
    """(root, gradient) where no graph exists: the backward is called by name."""
    return getattr(root, pair.function), pair.gradient(root, g)


def _worst(first: Mapping[str, Any], last: Mapping[str, Any]) -> dict[str, Any]:
    """Column by column the larger of two verifications; nan counts as the largest."""
    return {name: _larger(x, last[name]) for name, x in first.items()}


def _larger(x: Any, y: Any) -> Any:
    if x is None or x != x:
        return x
    return x if y <= x else y  # y where it is nan: no comparison with it holds


@contextmanager
def _collected() -> Iterator[None]:
    """No garbage collection while sampling. The worker has frozen what it started with."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _synchronize(device: str) -> Callable[[], None]:
    return torch.cuda.synchronize if device == "cuda" else _nothing


def _clock(name: str, device: str) -> Clock:
    return CudaClock(torch.cuda) if name == "gpu" else HostClock(_synchronize(device))


_anchors: dict[tuple[Any, ...], Timing] = {}


def anchor_seconds(cell: Cell, clock: str, policy: Policy, spent: Spent) -> float:
    """Seconds of one batched product of the cell's shape: the unit of the column `gemms`.

    torch's, whatever the cell's library, so that libraries compare; once per shape and process.
    """
    key = (cell.device, cell.precision, cell.size, cell.batch, clock)
    if key not in _anchors:
        dtype = getattr(torch, arrays.STORAGE[cell.precision])
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(cell.batch, cell.size, cell.size, generator=generator)
        x = x.to(cell.device, dtype)
        out = torch.empty_like(x)

        def product(_: Any) -> Array:
            return torch.bmm(x, x, out=out)

        with torch.inference_mode(), _collected():
            start = time.perf_counter()
            product(None)
            _synchronize(cell.device)()
            first = time.perf_counter() - start
            spent.warmup += first
            _anchors[key] = sample(
                _clock(clock, cell.device), _nothing, product, policy, first_call=first, spent=spent
            )
    return float(_anchors[key].statistics()["seconds_median"])
