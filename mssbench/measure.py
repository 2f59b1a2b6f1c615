"""Cell -> Measurements. Refuses what cannot be, builds the problem and its truth, and never raises.

What happens on the bench is in bench.py: verify, weigh, time, verify again.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch

from mssbench import arrays, methods, problems, provenance, roots
from mssbench.anchors import product_rule
from mssbench.applied import Applied
from mssbench.bench import Bench, Settings, Violation
from mssbench.classify import classify
from mssbench.environment import check_library
from mssbench.errors import Unsupported
from mssbench.records import APPLIED, Cell, Measurement, uniform
from mssbench.registry import Method
from mssbench.roots import Pair
from mssbench.rotation import Rotation
from mssbench.sampling import Spent
from mssbench.truth import truth_of


@dataclass(frozen=True)
class Result:
    """The rows of one cell, the hash of the code that made them, and where the time went."""

    measurements: tuple[Measurement, ...]
    code_hash: str
    spent: Spent
    lost: bool = False  # this process should measure no more


def measure(cell: Cell, settings: Settings, announce: Callable[[], None] = lambda: None) -> Result:
    """Measure every phase of a cell on every clock. Whatever a method does becomes rows.

    announce: called when problem and reference stand and the method is about to run; a timeout
    starts there, since what comes before is not the method's doing.
    """
    spent, code_hash, lost, start = Spent(), "", False, time.perf_counter()
    try:
        forward, backward = methods_of(cell)
        code_hash = provenance.code_hash(forward, *([backward] if backward else []))
        refuse(cell, forward, backward)
        measurements, lost = _measure(cell, settings, spent, announce)
    except Exception as error:  # a method that raises is a result, not the end of the run
        measurements = uniform(cell, *classify(error))
    spent.total = time.perf_counter() - start
    return Result(measurements, code_hash, spent, lost)


def methods_of(cell: Cell) -> tuple[Method, Method | None]:
    """Forward and backward. Raises NotInstalled where the package of one is missing."""
    forward = methods.lookup("forward", cell.forward)
    if cell.backward == "none":
        return forward, None
    return forward, methods.lookup("backward", cell.backward)


def refuse(cell: Cell, forward: Method, backward: Method | None) -> None:
    """Raise for what cannot be, before anything is built for it.

    Unsupported where it does not exist, NotInstalled or Unavailable where it could elsewhere.
    """
    library, precision = cell.library, cell.precision
    if cell.device not in arrays.DEVICES[library]:
        raise Unsupported(f"{library} does not run on {cell.device}")
    if precision not in arrays.PRECISIONS[library]:
        raise Unsupported(f"{library} has no {precision}")
    if precision == "tf32" and cell.device != "cuda":
        raise Unsupported("tf32 is a product rule of CUDA tensor cores")
    for method in filter(None, (forward, backward)):
        if library not in method.libraries:
            raise Unsupported(f"{method.name} has no {library} version")
        if precision not in method.precisions:
            raise Unsupported(f"{method.name} does not exist in {precision}")
        if method.sizes and cell.size not in method.sizes:
            raise Unsupported(
                f"{method.name} takes size {' or '.join(map(str, method.sizes))} only"
            )
    if cell.function == APPLIED and library != "torch":
        raise Unsupported(f"{APPLIED} is measured as autograd runs it: torch only")
    if reason := problems.check_size(cell.problem, cell.size):
        raise Unsupported(reason)
    check_library(library, cell.device)


def pair_of(cell: Cell) -> Pair | Applied:
    """What is called."""
    applied = cell.function == APPLIED
    root = roots.pair(
        "isqrt" if applied else cell.function,  # type: ignore[arg-type]
        cell.forward,
        None if cell.backward == "none" else cell.backward,
        tuple(sorted(cell.parameters.items())),
    )
    return Applied(root) if applied else root


def inputs(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Matrices and cotangents, (b, n, n), cast to the precision and stored in float64."""
    problem = problems.make(cell.problem, cell.size, cell.batch, cell.seed)
    return (
        problems.cast(problem.master, cell.precision),
        problems.cast(problem.cotangent, cell.precision),
    )


def _measure(
    cell: Cell, settings: Settings, spent: Spent, announce: Callable[[], None]
) -> tuple[tuple[Measurement, ...], bool]:
    pair = pair_of(cell)
    start = time.perf_counter()
    a64, g64 = inputs(cell)
    middle = time.perf_counter()
    truth = truth_of(cell.function, cell.problem, cell.size, cell.batch, cell.seed, cell.precision)
    spent.problem, spent.reference = middle - start, time.perf_counter() - middle
    with library(cell.library), product_rule(cell.precision):
        begun = time.perf_counter()
        rotation = rotation_of(cell, a64, g64)
        spent.problem += time.perf_counter() - begun
        announce()
        try:
            bench = Bench(cell, pair, rotation, truth, settings, spent)
            rows = bench.run()
            refuse_written(cell, rotation)
        except BaseException:
            forget_inputs()  # nobody knows what became of them
            raise
    return rows, bench.spoilt


def refuse_written(cell: Cell, rotation: Rotation) -> None:
    """Raise Violation for a method that wrote into one of the rotating inputs."""
    if what := rotation.written():
        who = cell.forward if what == "input" or cell.backward == "none" else cell.backward
        raise Violation(f"{who} wrote into its {what}")


_rotations: dict[tuple[Any, ...], Rotation] = {}  # of one group of cells, which share it


def forget_inputs() -> None:
    """Make the inputs of the next cell anew."""
    _rotations.clear()


def rotation_of(cell: Cell, a64: np.ndarray, g64: np.ndarray) -> Rotation:
    """The inputs of a cell: those of the cell before it, where only the method differs."""
    key = (
        cell.library, cell.device, cell.precision, cell.problem, cell.size, cell.batch, cell.seed,
    )  # fmt: skip
    if key not in _rotations:
        _rotations.clear()
        like = arrays.empty(cell.library, cell.device, cell.precision)
        a, g = arrays.from_numpy(a64, like=like), arrays.from_numpy(g64, like=like)
        _rotations[key] = Rotation(a, g, cell.seed)
    _rotations[key].begin()
    return _rotations[key]


def library(name: str) -> AbstractContextManager[Any]:
    """CuPy works on torch's current stream, from memory of its own; the others need nothing."""
    return _cupy() if name == "cupy" else nullcontext()


@contextmanager
def _cupy() -> Iterator[None]:
    """Each library keeps what it frees. What one has kept is given back before the other works."""
    cupy = import_module("cupy")
    check_library("cupy", "cuda")  # once more, now that CuPy itself can be asked
    torch.cuda.init()  # type: ignore[no-untyped-call]
    torch.cuda.empty_cache()
    stream = torch.cuda.current_stream()
    if hasattr(cupy.cuda.Stream, "from_external") and hasattr(stream, "__cuda_stream__"):
        theirs = cupy.cuda.Stream.from_external(stream)
    else:
        theirs = cupy.cuda.ExternalStream(stream.cuda_stream)  # CuPy < 14
    try:
        with theirs:
            yield
    finally:
        cupy.get_default_memory_pool().free_all_blocks()
