"""Methods that are wrong or slow on purpose, for `selftest`: registered for a moment, then gone.

All of them are twelve steps of Newton–Schulz with something done to them.
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

Roots = Callable[[Array], Array]  # (b, n, n) -> (b, n, n)
_STEPS = 12
_BATCH = {"cpu": 8, "cuda": 512}  # without its products, faster than any ceiling allows
# One call that warms up and an even number of samples: the last call never has the first of the
# rotating inputs, whose answer is the one that is kept.
_SETTINGS = Settings(
    Policy(min_seconds=0, min_samples=30, max_seconds=60, warmup_seconds=0, interval=inf)
)
IDENTICAL = ("one", "twin", "triplet")  # the same code under three names
SLOWER = {"slower_by_6": 0.06, "slower_by_20": 0.20}  # by how much, relative
# What an impostor must end as; the honest one shows that not everything is called wrong.
DESERVED: dict[str, frozenset[Status]] = {
    "honest": frozenset({Status.OK}),
    "wrong": frozenset({Status.INACCURATE}),
    "kept_answer": frozenset({Status.INACCURATE, Status.DIVERGED}),
    "writes_into_input": frozenset({Status.CRASHED}),
    "skipped": frozenset({Status.INACCURATE, Status.DIVERGED}),
    # New content may lie where other content was, and then the answer from memory is a wrong one.
    "skipped_when_timed": frozenset({Status.IMPLAUSIBLE, Status.INACCURATE, Status.DIVERGED}),
    "remembers_content": frozenset({Status.IMPLAUSIBLE}),
    "computes_when_read": frozenset({Status.CRASHED}),
    "unwritten": frozenset({Status.NONFINITE, Status.DIVERGED, Status.INACCURATE}),
}
MEANING = {
    "honest": "a right method is ok",
    "wrong": "a root that is half too large",
    "kept_answer": "the first answer, given again to every other input",
    "writes_into_input": "a method that changes the matrix it is given",
    "skipped": "no product at all: the input itself as its root",
    "skipped_when_timed": "products while they are counted, answers from memory while timed",
    "remembers_content": "an answer kept for each matrix it has met",
    "computes_when_read": "a tensor that is computed when somebody looks at it",
    "unwritten": "memory that nobody wrote to, as its root",
}


def forward(name: str) -> str:
    """The forward that one of the names here is registered as."""
    return f"selftest_{name}"


def cell(name: str, device: str, size: int, batch: int) -> Cell:
    """What is measured of it: covariances of which Newton–Schulz finds the root."""
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
    """Each impostor against the status it deserves."""
    session = Session(_SETTINGS)
    for name in DESERVED:
        (found, *_) = measure(cell(name, device, 64, _BATCH[device]), session).measurements
        yield status_check(name, found)


def status_check(name: str, found: Measurement) -> Check:
    """Whether a status is one that its method deserves. Noise excuses nothing but a doubt."""
    deserved = DESERVED[name]
    right = found.status in deserved
    outcome = CheckOutcome.PASSED if right else CheckOutcome.FAILED
    why = f": {found.reason}" if found.reason and not right else ""
    doubted = ABOVE_CEILING in str((found.values or {}).get("flags"))
    if Status.IMPLAUSIBLE in deserved and doubted:  # it was seen, and may not win
        outcome, why = CheckOutcome.UNCLEAR, ": too fast, but other work was running"
    limit = " or ".join(sorted(deserved))
    return Check(name.replace("_", " "), outcome, str(found.status), limit, MEANING[name] + why)


@contextmanager
def registered(device: str) -> Iterator[None]:
    """Every method of this file, inside the block. Then the registry is what it was before."""
    with registry.temporarily():
        try:
            for name, call in _all(device).items():
                _register(name, call)
            yield
        finally:
            pair.forget()


def _register(name: str, call: Roots) -> None:
    def method(a: Array) -> Root:
        return Root(sqrt=call(a))

    method.__name__ = forward(name)
    cite = "none: it is wrong or slow on purpose"
    register_forward(cite=cite, products=_products, yields=("sqrt",), libraries=("torch",))(method)


def _products() -> float:
    return 3.0 * _STEPS - 3


def _all(device: str) -> dict[str, Roots]:
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
    """A^{1/2}, right to single precision where A is well conditioned."""
    wanted = frozenset(("sqrt",))
    call = registry.lookup("forward", "newton_schulz").call
    return call(a, wanted, iterations=_STEPS, norm="frobenius").sqrt


def _writes(a: Array) -> Array:
    y = _honest(a)
    a.mul_(1.0001)
    return y


def _keeping(key: Callable[[Array], Any]) -> Roots:
    kept: dict[Any, Array] = {}

    def call(a: Array) -> Array:
        if key(a) not in kept:
            kept[key(a)] = _honest(a)
        return kept[key(a)]

    return call


def _skips_when_timed() -> Roots:
    """Right answers for each input, computed again only for who counts the products."""
    remembered = _keeping(lambda a: a.data_ptr())
    return lambda a: remembered(a) if _get_current_dispatch_mode() is None else _honest(a)


class _ComputedWhenRead(torch.Tensor):
    """Matrices that become their roots in the first operation on them."""

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = [_honest(x.as_subclass(torch.Tensor)) if type(x) is cls else x for x in args]
        return func(*given, **(kwargs or {}))


def _slower(share: float, device: str) -> Roots:
    return _slower_on_gpu(share) if device == "cuda" else _slower_on_cpu(share)


def _slower_on_cpu(share: float) -> Roots:
    """As much longer as this very call took, whatever disturbed it."""

    def call(a: Array) -> Array:
        start = time.perf_counter()
        y = _honest(a)
        end = time.perf_counter()
        wait(end + share * (end - start))
        return y

    return call


def _slower_on_gpu(share: float) -> Roots:
    """The device spins after each call, for a share of what it took when it was first seen."""
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
    """Keep this core busy until perf_counter says so, in seconds."""
    while time.perf_counter() < until:
        pass
