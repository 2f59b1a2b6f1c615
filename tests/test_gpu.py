"""What only a GPU can prove. Run there with `pytest -m gpu`."""

import time
from dataclasses import replace

import pytest
import torch
from test_measure import CELL, FAST

from mssbench import arrays, memory, registry, roots
from mssbench.bench import Settings
from mssbench.clock import CudaClock, HostClock
from mssbench.measure import measure
from mssbench.records import Status

pytestmark = pytest.mark.gpu
CUDA = replace(CELL, device="cuda", precision="float32")


def spin_cycles(seconds: float) -> int:
    """Cycles of the device's spin kernel that last this long, measured with plain events."""
    torch.cuda._sleep(1000)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    torch.cuda._sleep(100_000_000)
    end.record()
    end.synchronize()
    return int(100_000_000 * seconds / (start.elapsed_time(end) * 1e-3))


@pytest.mark.parametrize("seconds", [1e-3, 20e-3])
def test_both_clocks_measure_a_known_duration(seconds: float) -> None:
    cycles = spin_cycles(seconds)
    gpu, wall = CudaClock(torch.cuda), HostClock(torch.cuda.synchronize)
    for clock in (gpu, wall):
        clock.block(lambda _: torch.cuda._sleep(cycles), [None])
        found = min(clock.block(lambda _: torch.cuda._sleep(cycles), [None]) for _ in range(10))
        assert found == pytest.approx(seconds, rel=0.05), clock.name


def test_the_host_clock_waits_for_the_device() -> None:
    cycles = spin_cycles(50e-3)
    start = time.perf_counter()
    torch.cuda._sleep(cycles)
    naive = time.perf_counter() - start
    torch.cuda.synchronize()
    assert naive < 5e-3  # the host alone sees a launch
    waited = HostClock(torch.cuda.synchronize).block(lambda _: torch.cuda._sleep(cycles), [None])
    assert waited > 45e-3


def test_events_leave_the_launches_out() -> None:
    """Fifty tiny kernels: the device's time is shorter than what the host needs to queue them."""
    x = torch.ones(16, device="cuda")

    def chain(_: object) -> None:
        for _i in range(50):
            x.add_(1.0)

    gpu, wall = CudaClock(torch.cuda), HostClock(torch.cuda.synchronize)
    for clock in (gpu, wall):
        clock.block(chain, [None] * 5)
    device = min(gpu.block(chain, [None]) for _ in range(20))
    host = min(wall.block(chain, [None]) for _ in range(20))
    assert device < host


@pytest.mark.parametrize("library", ["torch", "cupy"])
@pytest.mark.parametrize("forward", ["eigh", "svd", "newton_schulz", "pade"])
def test_a_cell_on_the_gpu_has_rows_on_both_clocks(library: str, forward: str) -> None:
    if library == "cupy":
        pytest.importorskip("cupy")
    method = registry.lookup("forward", forward)
    iterations = 12 if "iterations" in method.parameters else None
    cell = replace(CUDA, library=library, forward=forward, iterations=iterations)
    found = measure(replace(cell, backward="loewner"), FAST).measurements
    assert [(m.phase, m.clock) for m in found] == [
        ("backward", "wall"), ("backward", "gpu"), ("step", "wall"), ("step", "gpu"),
    ]  # fmt: skip
    for m in found:
        assert m.status in (Status.OK, Status.INACCURATE), m.reason
        assert m.row()["peak_bytes"] > 0


def test_the_gpu_clock_is_not_slower_than_the_wall() -> None:
    settings = Settings()
    cell = replace(CUDA, forward="newton_schulz", iterations=10, size=64, batch=256)
    wall, gpu = measure(cell, settings).measurements
    assert gpu.row()["seconds_median"] <= 1.1 * wall.row()["seconds_median"] + 5e-6


def test_float32_products_are_not_tf32_and_tf32_is_not_float32() -> None:
    cell = replace(CUDA, forward="newton_schulz", iterations=15, size=64, options="norm=frobenius")
    exact = measure(cell, FAST).measurements[0].row()["root_error"]
    rounded = measure(replace(cell, precision="tf32"), FAST).measurements[0].row()["root_error"]
    assert exact < 1e-5 < rounded


def test_cupy_shares_torchs_memory_and_stream() -> None:
    cupy = pytest.importorskip("cupy")
    keep = memory.share_torch_allocator()
    before = torch.cuda.memory_allocated()
    x = cupy.zeros(2**20, dtype=cupy.float32)
    assert torch.cuda.memory_allocated() - before >= 4 * 2**20
    del x, keep


@pytest.mark.parametrize("forward", ["eigh", "newton_schulz"])
def test_roots_are_the_same_on_cpu_and_gpu(forward: str) -> None:
    a = torch.randn(5, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a = a @ a.mT + 16 * torch.eye(16)
    parameters = {"iterations": 15} if forward == "newton_schulz" else {}
    here = roots.sqrtm(a, forward=forward, **parameters)
    there = roots.sqrtm(a.cuda(), forward=forward, **parameters)
    assert arrays.library(there) == "torch"
    assert (here - there.cpu()).abs().max() < 1e-12 * here.abs().max()


def test_a_batch_too_large_for_the_gpu_is_oom_and_the_context_survives() -> None:
    def huge() -> None:
        torch.empty(2**45, device="cuda")

    with pytest.raises(torch.OutOfMemoryError):
        huge()
    assert measure(CUDA, FAST).measurements[0].status is Status.OK
