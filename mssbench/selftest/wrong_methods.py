"""Methods that are wrong or slow on purpose, and right ones to compare with, for `selftest`.

All of them are variations of twelve steps of the Newton–Schulz iteration.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode

from mssbench import problems
from mssbench.arrays import Array
from mssbench.measure.instruments.clocks import CudaClock, spin
from mssbench.measure.measure import measure
from mssbench.measure.session import Session, Settings
from mssbench.methods import pair, registry
from mssbench.methods.method import Root
from mssbench.methods.registry import register_forward
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, Status
from mssbench.records.noise import ABOVE_CEILING
from mssbench.records.policy import Policy
from mssbench.selftest.checks import Check, CheckOutcome

RootFunction = Callable[[Array], Array]  # (b, n, n) -> (b, n, n)
_STEPS = 12  # enough for an accurate root of the covariances below in float32
# So large that a method without products is faster than the ceilings of the device allow.
_BATCH = {"cpu": 8, "cuda": 512}
# One warm-up call and an even number of samples, so that the last call does not have the first of
# the rotating inputs: "kept_answer" returns the answer of that input for all others.
_SETTINGS = Settings(
    Policy(min_seconds=0, min_samples=30, max_seconds=60, warmup_seconds=0, interval=inf)
)
IDENTICAL = ("one", "twin", "triplet")  # the same code under three names
SLOWER = {"slower_by_6": 0.06, "slower_by_20": 0.20}  # relative slowdown by name
# Allowed statuses of each method. "honest" shows that correct methods are not called wrong.
DESERVED: dict[str, frozenset[Status]] = {
    "honest": frozenset({Status.OK}),
    "wrong": frozenset({Status.INACCURATE}),
    "kept_answer": frozenset({Status.INACCURATE, Status.DIVERGED}),
    "writes_into_input": frozenset({Status.CRASHED}),
    "skipped": frozenset({Status.INACCURATE, Status.DIVERGED}),
    # An input may be at the address of an earlier one, and then the remembered answer is wrong.
    "skipped_when_timed": frozenset({Status.IMPLAUSIBLE, Status.INACCURATE, Status.DIVERGED}),
    "remembers_content": frozenset({Status.IMPLAUSIBLE}),
    "computes_when_read": frozenset({Status.CRASHED}),
    "unwritten": frozenset({Status.NONFINITE, Status.DIVERGED, Status.INACCURATE}),
}
MEANING = {
    "honest": "a correct method, which must be ok",
    "wrong": "returns 1.5 times the root",
    "kept_answer": "returns the root of the first input for every input",
    "writes_into_input": "writes into its input",
    "skipped": "computes nothing and returns its input as the root",
    "skipped_when_timed": "computes while products are counted, returns stored roots while timed",
    "remembers_content": "returns the stored root of every matrix that it has seen before",
    "computes_when_read": "returns a tensor that is computed only when it is read",
    "unwritten": "returns uninitialized memory",
}


def forward(name: str) -> str:
    """Return the name under which a method of this module, such as `honest`, is registered."""
    return f"selftest_{name}"


def cell(name: str, device: str, size: int, batch: int) -> Cell:
    """Return the cell that measures a method of this module.

    Its matrices are covariances for which the Newton–Schulz iteration converges. size: n. batch: b.
    """
    return Cell(
        library="torch",
        forward=forward(name),
        backward="none",
        function="sqrt",
        problem=problems.canonical("wishart(ratio=2)"),
        size=size,
        batch=batch,
        iterations=None,
        backward_iterations=None,
        options="",
        precision="float32",
        device=device,
        seed=0,
    )


def caught(device: str) -> Iterator[Check]:
    """Measure each wrong method, and yield a check of whether its status is one of DESERVED."""
    session = Session(_SETTINGS)
    for name in DESERVED:
        (measurement, *_) = measure(cell(name, device, 64, _BATCH[device]), session).measurements
        yield status_check(name, measurement)


def status_check(name: str, measurement: Measurement) -> Check:
    """Return a check of whether the status of a method is one of DESERVED.

    A method that is implausibly fast while other processes run gets a flag but not the status
    `implausible`; then the outcome is unclear.
    """
    deserved = DESERVED[name]
    right = measurement.status in deserved
    outcome = CheckOutcome.PASSED if right else CheckOutcome.FAILED
    why = f": {measurement.reason}" if measurement.reason and not right else ""

    doubted = ABOVE_CEILING in str((measurement.values or {}).get("flags"))
    if Status.IMPLAUSIBLE in deserved and doubted:  # detected, so that the row cannot win
        outcome, why = CheckOutcome.UNCLEAR, ": too fast, but other processes were running"
    limit = " or ".join(sorted(deserved))
    return Check(
        name.replace("_", " "), outcome, str(measurement.status), limit, MEANING[name] + why
    )


@contextmanager
def registered(device: str) -> Iterator[None]:
    """Register every method of this module during the block, then restore the registry."""
    with registry.temporarily():
        try:
            for name, call in _all(device).items():
                _register(name, call)
            yield
        finally:
            pair.forget()


def _register(name: str, call: RootFunction) -> None:
    """Register a function that returns roots as a forward. name: one of this module."""

    def method(a: Array) -> Root:
        return Root(sqrt=call(a))

    method.__name__ = forward(name)
    cite = "none: it is wrong or slow on purpose"
    register_forward(cite=cite, products=_products, yields=("sqrt",), libraries=("torch",))(method)


def _products() -> float:
    """Return the number of matrix products of the Newton–Schulz steps."""
    return 3.0 * _STEPS - 3


def _all(device: str) -> dict[str, RootFunction]:
    """Return every method of this module by name."""
    slower = {name: _slower(share, device) for name, share in SLOWER.items()}
    return (
        dict.fromkeys(IDENTICAL, _honest)
        | slower
        | {
            "honest": _honest,
            "wrong": lambda a: 1.5 * _honest(a),
            "kept_answer": _keeping(lambda a: tuple(a.shape)),
            "writes_into_input": _writes,
            "skipped": lambda a: a,
            "skipped_when_timed": _skips_when_timed(),
            "remembers_content": _keeping(lambda a: a.cpu().numpy().tobytes()),
            "computes_when_read": lambda a: a.clone().as_subclass(_ComputedWhenRead),
            "unwritten": torch.empty_like,
        }
    )


def _honest(a: Array) -> Array:
    """Return A^{1/2}, accurate to single precision if A is well conditioned."""
    wanted = frozenset(("sqrt",))
    call = registry.lookup("forward", "newton_schulz").call
    return call(a, wanted, iterations=_STEPS, norm="frobenius").sqrt


def _writes(a: Array) -> Array:
    """Return the root of a, and write into a, which no method may do."""
    y = _honest(a)
    a.mul_(1.0001)
    return y


def _keeping(key: Callable[[Array], Any]) -> RootFunction:
    """Return a method that computes the root once for each key of an input, and stores it."""
    kept: dict[Any, Array] = {}

    def call(a: Array) -> Array:
        if key(a) not in kept:
            kept[key(a)] = _honest(a)
        return kept[key(a)]

    return call


def _skips_when_timed() -> RootFunction:
    """Return a method that recomputes only while a torch dispatch mode counts its products."""
    remembered = _keeping(lambda a: a.data_ptr())
    return lambda a: remembered(a) if _get_current_dispatch_mode() is None else _honest(a)


class _ComputedWhenRead(torch.Tensor):
    """Matrices that are replaced by their roots in the first operation on them."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        computed = [_honest(x.as_subclass(torch.Tensor)) if type(x) is cls else x for x in args]
        return func(*computed, **(kwargs or {}))


def _slower(share: float, device: str) -> RootFunction:
    """Return a method that takes 1 + share times as long as the honest one; 0.2 is 20 % slower."""
    return _slower_on_gpu(share) if device == "cuda" else _slower_on_cpu(share)


def _slower_on_cpu(share: float) -> RootFunction:
    """Return a method that busy-waits after each call for a share of that call's time."""

    def call(a: Array) -> Array:
        start = time.perf_counter()
        y = _honest(a)
        end = time.perf_counter()
        wait(end + share * (end - start))
        return y

    return call


def _slower_on_gpu(share: float) -> RootFunction:
    """Return a method that makes the GPU spin after each call, for a share of the call's time.

    This time is measured once, with the honest method at the first input of each shape.
    """
    seconds: dict[tuple[int, ...], float] = {}

    def call(a: Array) -> Array:
        shape = tuple(a.shape)
        if shape not in seconds:
            clock = CudaClock(torch.cuda)
            seconds[shape] = min(clock.block(lambda _: _honest(a), [None]) for _ in range(10))

        y = _honest(a)
        spin(torch.cuda, share * seconds[shape])
        return y

    return call


def wait(until: float) -> None:
    """Keep this core busy until time.perf_counter() reaches `until`, in seconds."""
    while time.perf_counter() < until:
        pass
