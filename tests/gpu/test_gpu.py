"""What only a GPU can prove. Run there with `pytest -m gpu`."""

import time
from dataclasses import replace

import pytest
import torch
from helpers.cells import CELL, FAST

from mssbench import arrays
from mssbench.measure.instruments import disturbance, memory
from mssbench.measure.instruments.clocks import CudaClock, HostClock
from mssbench.measure.measure import measure
from mssbench.measure.session import Session, Settings
from mssbench.methods import cuda_graph, registry, sqrtm
from mssbench.records.measurement import Status

pytestmark = pytest.mark.gpu
CUDA = replace(CELL, device="cuda", precision="float32")


def spin_cycles(seconds: float) -> int:
    """Cycles of the device's spin kernel that last this long, measured with plain events.

    The shortest of a few, as the clock of a device that was idle rises with its work.
    """
    cycles, taken = 50_000_000, []
    for _ in range(5):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        torch.cuda._sleep(cycles)
        end.record()
        end.synchronize()
        taken.append(start.elapsed_time(end) * 1e-3)
    return int(cycles * seconds / min(taken))


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
def test_a_cell_on_the_gpu_has_rows_on_every_clock(library: str, forward: str) -> None:
    if library == "cupy":
        pytest.importorskip("cupy")
    method = registry.lookup("forward", forward)
    iterations = 12 if "iterations" in method.parameters else None
    cell = replace(CUDA, library=library, forward=forward, iterations=iterations)
    found = measure(replace(cell, backward="loewner"), FAST).measurements
    ways = [("wall", "hot"), ("gpu", "cold"), ("gpu", "hot"), ("graph", "hot")]
    expected = [(phase, *way) for phase in ("backward", "step") for way in ways]
    assert [(m.phase, m.clock, m.cache) for m in found] == expected
    for m in found:
        assert m.row()["peak_bytes"] > 0
        if m.clock != "wall" and m.status is Status.UNSUPPORTED:
            assert m.reason  # not captured, or too short to be timed as a single call
            continue
        assert m.status in (Status.OK, Status.INACCURATE), m.reason
        if library == "torch" and m.clock == "gpu":
            # what waits for the device cannot be captured, and its kernels are not counted
            assert (m.row()["launches"] or 0) > 0 or m.row()["host_sync"]
            assert m.row()["limit_seconds"] > 0


def test_what_can_be_captured_is_and_what_waits_says_so() -> None:
    chain = replace(CUDA, forward="newton_schulz", iterations=10, size=16, batch=64)
    rows = {(m.clock, m.cache): m.row() for m in measure(chain, Session(Settings())).measurements}
    graph, wall = rows["graph", "hot"], rows["wall", "hot"]
    assert graph["status"] == "ok", graph["reason"]
    assert graph["seconds_median"] < wall["seconds_median"]  # thirty launches are gone
    assert rows["gpu", "hot"]["seconds_median"] <= 1.1 * rows["gpu", "cold"]["seconds_median"]
    assert rows["gpu", "hot"]["host_sync"] is False
    checked = {(m.clock, m.cache): m.row() for m in measure(CUDA, Session(Settings())).measurements}
    assert checked["gpu", "hot"]["host_sync"] is True  # a checked decomposition waits


def test_the_machine_is_watched_while_it_works() -> None:
    pytest.importorskip("pynvml")
    for _ in range(50):
        torch.cuda._sleep(1_000_000)
    found = disturbance.read_gpu()
    assert found is not None
    assert found.clock > 100  # MHz; processes may be hidden from a container


def test_the_gpu_clock_is_not_slower_than_the_wall() -> None:
    settings = Session(Settings())
    cell = replace(CUDA, forward="newton_schulz", iterations=10, size=64, batch=256)
    wall, _, gpu, _ = measure(cell, settings).measurements
    assert gpu.row()["seconds_median"] <= 1.1 * wall.row()["seconds_median"] + 5e-6


def test_float32_products_are_not_tf32_and_tf32_is_not_float32() -> None:
    cell = replace(CUDA, forward="newton_schulz", iterations=15, size=64, options="norm=frobenius")
    exact = measure(cell, FAST).measurements[0].row()["root_error"]
    rounded = measure(replace(cell, precision="tf32"), FAST).measurements[0].row()["root_error"]
    assert exact < 1e-5 < rounded


def test_cupy_takes_torchs_memory_while_it_is_weighed_and_its_own_otherwise() -> None:
    cupy = pytest.importorskip("cupy")
    size = 2**20
    with memory.peak("cupy", "cuda") as peak:
        weighed = cupy.zeros(size, dtype=cupy.uint8)
    assert peak.whole is not None
    assert peak.whole >= size
    before = torch.cuda.memory_allocated()
    timed = cupy.zeros(size, dtype=cupy.uint8)
    assert torch.cuda.memory_allocated() == before
    assert cupy.get_default_memory_pool().used_bytes() >= size
    del weighed, timed


@pytest.mark.parametrize("forward", ["eigh", "newton_schulz"])
def test_roots_are_the_same_on_cpu_and_gpu(forward: str) -> None:
    a = torch.randn(5, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a = a @ a.mT + 16 * torch.eye(16)
    parameters = {"iterations": 15} if forward == "newton_schulz" else {}
    here = sqrtm.sqrtm(a, forward=forward, **parameters)
    there = sqrtm.sqrtm(a.cuda(), forward=forward, **parameters)
    assert arrays.library(there) == "torch"
    assert (here - there.cpu()).abs().max() < 1e-12 * here.abs().max()


# ------------------------------------------------------------------------------------ CUDA graphs


def covariances(b: int, n: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    """Well-conditioned matrices on the device, another batch for every seed."""
    x = torch.randn(b, n, 4 * n, generator=torch.Generator().manual_seed(seed))
    return (x @ x.mT / (4 * n)).to("cuda", dtype)


def graph_and_plain(
    a: torch.Tensor, function: str = "sqrt", **given: object
) -> tuple[torch.Tensor, torch.Tensor]:
    root = {"sqrt": sqrtm.sqrtm, "isqrt": sqrtm.isqrtm}[function]
    return (
        root(a, forward="newton_schulz_graph", **given),
        root(a, forward="newton_schulz", **given),
    )


@pytest.mark.parametrize("function", ["sqrt", "isqrt"])
@pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str
)
@pytest.mark.parametrize("shape", [(16, 16), (1, 8, 8), (5, 32, 32), (2, 3, 16, 16)], ids=str)
def test_a_replayed_graph_computes_what_newton_schulz_does(
    shape: tuple[int, ...], dtype: torch.dtype, function: str
) -> None:
    for seed in range(3):  # captured once, then replayed on other matrices
        count = int(torch.tensor(shape[:-2]).prod())
        a = covariances(count, shape[-1], dtype, seed).reshape(shape)
        before = a.clone()
        for k in (0, 1, 6):
            replayed, plain = graph_and_plain(a, function, iterations=k)
            assert (replayed.dtype, replayed.shape) == (dtype, shape)
            worst = (replayed - plain).abs().max() / plain.abs().max()
            assert worst <= 8 * torch.finfo(dtype).eps, (seed, k)
        assert torch.equal(a, before)


def test_the_root_of_a_graph_outlives_the_next_replay() -> None:
    first, second = covariances(4, 16, seed=1), covariances(4, 16, seed=2)
    y, plain = graph_and_plain(first)
    kept = y.clone()
    z, _ = graph_and_plain(second)
    assert torch.equal(y, kept)
    assert torch.allclose(y, plain, rtol=1e-5, atol=1e-6)
    assert y.data_ptr() != z.data_ptr()
    z.zero_()  # the caller's own: the next replay does not see it
    assert torch.allclose(graph_and_plain(first)[0], plain, rtol=1e-5, atol=1e-6)


def test_a_graph_reads_matrices_of_any_layout() -> None:
    a = covariances(4, 16)
    for view in (a.mT, a.expand(4, 16, 16)[::2], a[:1].expand(4, 16, 16), a.flip(0)):
        replayed, plain = graph_and_plain(view)
        assert torch.allclose(replayed, plain, rtol=1e-5, atol=1e-6)


def test_a_graph_captured_in_inference_mode_serves_outside_of_it_and_back() -> None:
    a = covariances(3, 24)
    with torch.inference_mode():
        inside = sqrtm.sqrtm(a.clone(), forward="newton_schulz_graph")
    outside, plain = graph_and_plain(a)
    assert torch.allclose(outside, plain, rtol=1e-5, atol=1e-6)
    assert torch.allclose(inside.clone(), plain, rtol=1e-5, atol=1e-6)


def test_a_graph_has_the_gradient_of_an_implicit_backward() -> None:
    gradients = []
    for forward in ("newton_schulz_graph", "newton_schulz"):
        a = covariances(3, 16, torch.float64).requires_grad_()
        sqrtm.sqrtm(a, forward=forward, backward="loewner", iterations=20).square().sum().backward()
        assert a.grad is not None
        gradients.append(a.grad)
    captured, eager = gradients
    assert torch.allclose(captured, eager, rtol=1e-11, atol=1e-12)


def test_replays_on_two_streams_at_once_do_not_mix() -> None:
    batches = [covariances(64, 64, seed=seed) for seed in range(2)]
    plain = [sqrtm.sqrtm(a, forward="newton_schulz") for a in batches]
    streams = [torch.cuda.Stream() for _ in batches]
    torch.cuda.synchronize()
    found: list[list[torch.Tensor]] = [[], []]
    for _ in range(20):
        for i, stream in enumerate(streams):
            with torch.cuda.stream(stream):
                torch.cuda._sleep(10_000 * (i + 1))
                found[i].append(sqrtm.sqrtm(batches[i], forward="newton_schulz_graph"))
    torch.cuda.synchronize()
    for i, expected in enumerate(plain):
        for y in found[i]:
            assert torch.allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_more_graphs_than_are_kept_stay_right() -> None:
    for _ in range(2):
        for n in range(2, 2 + cuda_graph.KEPT + 4):
            replayed, plain = graph_and_plain(covariances(2, n))
            assert torch.allclose(replayed, plain, rtol=1e-5, atol=1e-6)
    assert len(cuda_graph._graphs) == cuda_graph.KEPT


def test_a_graph_inside_another_capture_is_part_of_it() -> None:
    a = covariances(4, 16)
    plain = sqrtm.sqrtm(a, forward="newton_schulz")
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        sqrtm.sqrtm(a, forward="newton_schulz")
    torch.cuda.current_stream().wait_stream(side)
    outer = torch.cuda.CUDAGraph()
    with torch.cuda.graph(outer, stream=side):
        y = sqrtm.sqrtm(a, forward="newton_schulz_graph")
    outer.replay()
    assert torch.allclose(y, plain, rtol=1e-5, atol=1e-6)


def test_a_graph_follows_the_product_rule_of_the_moment() -> None:
    a = covariances(4, 64)
    before = torch.get_float32_matmul_precision()
    try:
        for rule in ("highest", "high", "highest"):
            torch.set_float32_matmul_precision(rule)
            replayed, plain = graph_and_plain(a, iterations=12)
            limit = 1e-5 if rule == "highest" else 1e-2
            assert (replayed - plain).abs().max() < limit * plain.abs().max()
            exact = sqrtm.sqrtm(a.double(), forward="eigh")
            wrong = ((replayed - exact).norm() / exact.norm()).item()
            assert (wrong < 1e-5) == (rule == "highest")
    finally:
        torch.set_float32_matmul_precision(before)


def test_a_batch_too_large_for_the_gpu_is_oom_and_the_context_survives() -> None:
    def huge() -> None:
        torch.empty(2**45, device="cuda")

    with pytest.raises(torch.OutOfMemoryError):
        huge()
    assert measure(CUDA, FAST).measurements[0].status is Status.OK
