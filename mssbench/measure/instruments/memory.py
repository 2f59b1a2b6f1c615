"""Bytes, never in the timed pass: the peak of a call, and what a graph keeps for its backward.

Each library has a counter of its own: torch's profiler on the CPU (workspaces of decompositions
included), torch's caching allocator on CUDA (CuPy is routed through it meanwhile), tracemalloc for
numpy.
"""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from mssbench.arrays import Array
from mssbench.measure.libraries import torch_allocator
from mssbench.methods.method import Root

_MARK = "mssbench: backward"


class Peak:
    """The most bytes alive at once during a block, beyond those alive before it; None if unknown.

    `mark()` divides the block in two: `second` is the peak after it, beyond those alive at it.
    """

    def __init__(self) -> None:
        self.whole: int | None = None
        self.second: int | None = None
        self.mark: Callable[[], None] = lambda: None


@contextmanager
def peak(library: str, device: str) -> Iterator[Peak]:
    """Watch the allocations of the block."""
    watch = (
        _watch_cuda if device == "cuda" else _watch_torch if library == "torch" else _watch_numpy
    )
    with torch_allocator() if library == "cupy" else nullcontext(), watch() as found:
        yield found


@contextmanager
def _watch_torch() -> Iterator[Peak]:
    # torch.profiler is a wrapper that imports a compiler (over a second) when first started
    from torch.autograd.profiler import profile, record_function

    found = Peak()

    def mark() -> None:
        with record_function(_MARK):
            pass

    found.mark = mark
    with profile(use_cpu=True, profile_memory=True) as profiler:
        yield found
    results = getattr(profiler, "kineto_results", None)
    if results is None:  # not a public name: a torch without it leaves the column null
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
    found.whole, found.second = whole, second - at_mark


@contextmanager
def _watch_cuda() -> Iterator[Peak]:
    import torch

    found, cuda = Peak(), torch.cuda
    cuda.synchronize()
    before = at_mark = cuda.memory_allocated()
    first = 0
    cuda.reset_peak_memory_stats()

    def mark() -> None:
        nonlocal at_mark, first
        cuda.synchronize()
        first, at_mark = cuda.max_memory_allocated(), cuda.memory_allocated()
        cuda.reset_peak_memory_stats()

    found.mark = mark
    yield found
    cuda.synchronize()
    last = cuda.max_memory_allocated()
    found.whole, found.second = max(first, last) - before, last - at_mark


@contextmanager
def _watch_numpy() -> Iterator[Peak]:
    found = Peak()
    first = at_mark = 0

    def mark() -> None:
        nonlocal at_mark, first
        at_mark, first = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()

    found.mark = mark
    tracemalloc.start(1)
    try:
        before = at_mark = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        yield found
        last = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    found.whole, found.second = max(first, last) - before, last - at_mark


class Saved:
    """What autograd saves inside the block, each storage once."""

    def __init__(self) -> None:
        self._storages: dict[int, int] = {}

    def add(self, t: Any) -> Any:
        """Count a tensor; returned as it is, so this can be autograd's pack hook."""
        storage = t.untyped_storage()
        self._storages[storage.data_ptr()] = storage.nbytes()
        return t

    def bytes(self, root: Any, leaf: Any) -> int:
        """In all, with the root, which lives as long, and without the input, its owner's."""
        self.add(root)
        own = leaf.untyped_storage().data_ptr()
        return sum(size for pointer, size in self._storages.items() if pointer != own)


@contextmanager
def saved_for_backward() -> Iterator[Saved]:
    """Count what torch keeps of the block for a backward."""
    import torch

    found = Saved()
    with torch.autograd.graph.saved_tensors_hooks(found.add, lambda t: t):
        yield found


def root_bytes(root: Root) -> int:
    """Bytes of every field of a root: what a backward without a graph is handed."""
    parts: list[Array] = []
    for field in root:
        parts += field if isinstance(field, tuple) else [field]
    return sum(p.nbytes for p in parts if p is not None)
