"""Bytes, against calls whose bytes are known."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.cells import CELL, rows

from mssbench.measure import libraries
from mssbench.measure.instruments import memory
from mssbench.methods.method import Root

MIB = 2**20


def test_the_peak_of_torch_on_the_cpu_is_what_was_alive_at_once() -> None:
    with memory.peak("torch", "cpu") as peak:
        first = torch.empty(MIB, dtype=torch.uint8)
        second = torch.empty(2 * MIB, dtype=torch.uint8)
        del first, second
        third = torch.empty(MIB, dtype=torch.uint8)
    assert peak.whole == 3 * MIB
    del third


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_the_second_half_counts_beyond_what_was_alive_at_the_mark(library: str) -> None:
    with memory.peak(library, "cpu") as peak:
        first = _bytes(library, 3 * MIB)
        del first
        kept = _bytes(library, 2 * MIB)
        peak.mark()
        new = _bytes(library, MIB)
    assert peak.whole is not None
    assert peak.second is not None
    assert peak.whole == pytest.approx(3 * MIB, rel=0.01)
    assert peak.second == pytest.approx(MIB, rel=0.01)
    del kept, new


def _bytes(library: str, count: int) -> object:
    if library == "torch":
        return torch.empty(count, dtype=torch.uint8)
    return np.empty(count, dtype=np.uint8)


def test_saved_storages_count_once_and_the_input_not_at_all() -> None:
    leaf = torch.ones(1024, requires_grad=True)
    with memory.saved_for_backward() as saved:
        y = leaf * leaf  # saves the input, twice
        z = y * y  # saves y, twice
    assert saved.bytes(z, leaf) == 2 * 4096  # y, and the root z


def test_the_bytes_of_a_root_are_those_of_its_fields() -> None:
    y, w, v = np.zeros((2, 3, 3)), np.zeros((2, 3)), np.zeros((2, 3, 3))
    assert memory.root_bytes(Root(sqrt=y, eigen=(w, v))) == 8 * (18 + 6 + 18)


def test_a_pair_saves_what_its_backward_reads_and_its_root() -> None:
    b, n = CELL.batch, CELL.size
    link = 8  # one number, which stands for the matrix where a second derivative is taken
    for m in rows(replace(CELL, backward="loewner")):
        assert m.row()["saved_bytes"] == 8 * b * (n + 2 * n * n) + link  # w, v, the root
    iterative = replace(CELL, forward="newton_schulz", iterations=9, options="norm=trace")
    implicit = replace(iterative, backward="lyapunov_newton_schulz", backward_iterations=9)
    assert rows(implicit)[1].row()["saved_bytes"] == 8 * b * n * n + link  # the root alone
    recorded = rows(replace(iterative, backward="autodiff"))[1].row()["saved_bytes"]
    assert recorded > 3 * 9 * 8 * b * n * n * 0.8  # about three matrices a step


def test_peaks_are_deterministic() -> None:
    cell = replace(CELL, backward="loewner", size=16)
    first, second = ([m.row()["peak_bytes"] for m in rows(cell)] for _ in range(2))
    assert first == second
    assert first[1] >= 16 * 16 * 4 * 8


class FakeCupy(ModuleType):
    """Allocates by whatever allocator is set: its own pool, or the one of the block."""

    def __init__(self) -> None:
        super().__init__("cupy")
        self.now, self.freed, self.streams = "its own pool", 0, list[int]()
        self.cuda = SimpleNamespace(
            PythonFunctionAllocator=lambda take, give: SimpleNamespace(malloc=(take, give)),
            using_allocator=self.using,
            get_current_stream=lambda: SimpleNamespace(ptr=7),
            Stream=SimpleNamespace(),
            ExternalStream=self.stream,
        )

    @contextmanager
    def using(self, allocator: Any) -> Iterator[None]:
        before, self.now = self.now, allocator
        try:
            yield
        finally:
            self.now = before

    @contextmanager
    def stream(self, address: int) -> Iterator[None]:
        self.streams.append(address)
        yield

    def get_default_memory_pool(self) -> Any:
        return SimpleNamespace(free_all_blocks=self.free)

    def free(self) -> None:
        self.freed += 1


class FakeAllocator:
    """torch's on a GPU, which is none before CUDA is initialised."""

    def __init__(self) -> None:
        self.ready, self.bytes, self.most = False, 0, 0

    def init(self) -> None:
        self.ready = True

    def take(self, size: int, device: int, stream: int) -> int:
        assert self.ready, "CUDA is not initialised"
        assert (device, stream) == (0, 7)
        self.bytes += size
        self.most = max(self.most, self.bytes)
        return 4096

    def give(self, pointer: int) -> None:
        assert pointer == 4096
        self.bytes = 0


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeCupy, FakeAllocator]:
    cupy, torchs = FakeCupy(), FakeAllocator()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(libraries, "_allocators", [])
    cuda = {
        "init": torchs.init,
        "caching_allocator_alloc": torchs.take,
        "caching_allocator_delete": torchs.give,
        "synchronize": lambda: None,
        "memory_allocated": lambda: torchs.bytes,
        "max_memory_allocated": lambda: torchs.most,
        "reset_peak_memory_stats": lambda: setattr(torchs, "most", torchs.bytes),
        "empty_cache": lambda: None,
        "current_stream": lambda: SimpleNamespace(cuda_stream=77),
    }
    for name, stand_in in cuda.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    return cupy, torchs


def test_cupy_is_weighed_in_torchs_memory_though_nobody_has_started_cuda(cupy: Any) -> None:
    library, torchs = cupy
    with memory.peak("cupy", "cuda") as peak:
        take, give = library.now
        pointer = take(3 * MIB, 0)
        give(pointer, 0)
        take(MIB, 0)
    assert peak.whole == 3 * MIB
    assert library.now == "its own pool"
    assert torchs.ready
    first = libraries._allocators[0]
    with memory.peak("cupy", "cuda"):
        assert library.now == first.malloc, "one that is gone would take its arrays with it"
    with memory.peak("torch", "cuda"):
        assert library.now == "its own pool"


def test_cupy_is_timed_from_its_own_memory_on_torchs_stream(
    cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, _ = cupy
    monkeypatch.setattr(libraries, "check_library", lambda *_: None)
    with libraries.library("cupy"):
        assert (library.now, library.streams, library.freed) == ("its own pool", [77], 0)
    assert library.freed == 1  # for torch to have
    with pytest.raises(ZeroDivisionError), libraries.library("cupy"):
        raise ZeroDivisionError
    assert library.freed == 2


def test_a_call_that_fails_while_it_is_weighed_leaves_cupy_its_own_memory(cupy: Any) -> None:
    library, _ = cupy
    with pytest.raises(ZeroDivisionError), memory.peak("cupy", "cuda"):
        raise ZeroDivisionError
    assert library.now == "its own pool"
