"""Measure memory in bytes: the peak of a call, and what autograd keeps for the backward.

Memory is never measured in timed calls. Each library has a counter of its own: torch's profiler on
the CPU (workspaces of decompositions included), torch's caching allocator on CUDA (CuPy is routed
through it meanwhile), tracemalloc for numpy.
"""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from mssbench.arrays import Array
from mssbench.measure.libraries import torch_allocator
from mssbench.methods.method import Root

_MARK = "mssbench: backward"  # name of the event that begins the second part of a block


class Peak:
    """The largest number of bytes alive at once in a block, less those alive before it.

    `mark()` divides the block in two: `second` is the peak of the second part, less the bytes alive
    when it began. A peak that is unknown is None.
    """

    def __init__(self) -> None:
        self.whole: int | None = None
        self.second: int | None = None
        self.mark: Callable[[], None] = lambda: None


@contextmanager
def peak(library: str, device: str) -> Iterator[Peak]:
    """Measure the peak of the allocations of `library` in the block."""
    watch = (
        _watch_cuda if device == "cuda" else _watch_torch if library == "torch" else _watch_numpy
    )
    with torch_allocator() if library == "cupy" else nullcontext(), watch() as measured:
        yield measured


@contextmanager
def _watch_torch() -> Iterator[Peak]:
    # Not torch.profiler, a wrapper that imports a compiler when first started, for over a second.
    from torch.autograd.profiler import profile, record_function

    measured = Peak()

    def mark() -> None:
        with record_function(_MARK):
            pass

    measured.mark = mark
    with profile(use_cpu=True, profile_memory=True) as profiler:
        yield measured
    results = getattr(profiler, "kineto_results", None)
    if results is None:  # it is not public, and another torch may lack it: the column is null
        return

    now = whole = second = at_mark = 0
    steps = [
        (e.start_ns(), e.name() == _MARK, e.nbytes())
        for e in results.events()
        if e.name() in ("[memory]", _MARK)
    ]
    for _, marks, size in sorted(steps, key=lambda step: step[0]):
        if marks:
            at_mark = second = now
            continue
        now += size
        whole, second = max(whole, now), max(second, now)
    measured.whole, measured.second = whole, second - at_mark


@contextmanager
def _watch_cuda() -> Iterator[Peak]:
    import torch

    measured, cuda = Peak(), torch.cuda
    cuda.synchronize()
    before = at_mark = cuda.memory_allocated()
    first = 0
    cuda.reset_peak_memory_stats()

    def mark() -> None:
        nonlocal at_mark, first
        cuda.synchronize()
        first, at_mark = cuda.max_memory_allocated(), cuda.memory_allocated()
        cuda.reset_peak_memory_stats()

    measured.mark = mark

    yield measured
    cuda.synchronize()
    last = cuda.max_memory_allocated()
    measured.whole, measured.second = max(first, last) - before, last - at_mark


@contextmanager
def _watch_numpy() -> Iterator[Peak]:
    measured = Peak()
    first = at_mark = 0

    def mark() -> None:
        nonlocal at_mark, first
        at_mark, first = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()

    measured.mark = mark
    tracemalloc.start(1)
    try:
        before = at_mark = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield measured
        last = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    measured.whole, measured.second = max(first, last) - before, last - at_mark


class Saved:
    """The storages that autograd saves inside the block, each counted once."""

    def __init__(self) -> None:
        self._storages: dict[int, int] = {}

    def add(self, t: Any) -> Any:
        """Count a tensor and return it unchanged, so that this can be autograd's pack hook."""
        storage = t.untyped_storage()
        self._storages[storage.data_ptr()] = storage.nbytes()
        return t

    def bytes(self, root: Any, leaf: Any) -> int:
        """Return the bytes of all saved storages and the root, without the input.

        The root is kept as long as the graph; the input belongs to the caller.
        """
        self.add(root)
        input_pointer = leaf.untyped_storage().data_ptr()
        return sum(size for pointer, size in self._storages.items() if pointer != input_pointer)


@contextmanager
def saved_for_backward() -> Iterator[Saved]:
    """Count the bytes that torch saves in the block for a backward."""
    import torch

    saved = Saved()
    with torch.autograd.graph.saved_tensors_hooks(saved.add, lambda t: t):
        yield saved


def root_bytes(root: Root) -> int:
    """Return the bytes of all fields of a root, which a backward without a graph receives."""
    parts: list[Array] = []
    for field in root:
        parts += field if isinstance(field, tuple) else [field]
    return sum(p.nbytes for p in parts if p is not None)
