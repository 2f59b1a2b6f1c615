"""The kernels on a real GPU: the bits of the emulation, streams, graphs, batches of any size."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.cells import CELL, FAST
from helpers.emulated import Emulation, compiled
from helpers.kernels import BOTH, error, only, spd, truth

from mssbench.errors import Unsupported
from mssbench.measure.measure import measure
from mssbench.methods.forward.fused_tensor_cores import fused_tensor_cores
from mssbench.methods.forward.fused_triton import fused_triton
from mssbench.methods.kernels import driver, fused, operators, triton_roots
from mssbench.methods.kernels.factors import UNIT
from mssbench.methods.kernels.variants import VARIANTS, Variant
from mssbench.methods.method import FUNCTIONS, Root
from mssbench.methods.minimax import Factor, schedule, taylor
from mssbench.records.measurement import Status

pytestmark = pytest.mark.gpu
STEPS = (taylor(3),) * 14
BY_FMA = [v for v in VARIANTS if not v.operands]
WARPS = [v for v in VARIANTS if v.operands]


@pytest.fixture(autouse=True)
def with_cupy() -> None:
    pytest.importorskip("cupy")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the emulation of a variant is compiled when it is asked for.

    One process compiles all of them beside its tests. Of several each compiles what its own tests
    ask for, or all would compile everything.
    """
    if shutil.which("g++") is None:
        pytest.skip("no g++ to compile the emulation with")
    folder = tmp_path_factory.mktemp("kernels")
    if "PYTEST_XDIST_WORKER" in os.environ:
        yield folder
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for variant in VARIANTS:
            pool.submit(compiled, variant, folder)
        yield folder
        pool.shutdown(cancel_futures=True)


def on_gpu(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).cuda()


def fits(variant: Variant) -> None:
    limits = driver.driver_of(torch.empty(1, 1, 1, device="cuda")).limits
    if variant.shared_bytes > limits.shared_per_block:
        pytest.skip(f"{variant.shared_bytes} bytes of shared memory do not fit here")
    if variant.operands and not limits.tensor_cores:
        pytest.skip("no tensor cores for these operands")


def both_ways(
    monkeypatch: pytest.MonkeyPatch, folder: Path, variant: Variant, call: Any, *given: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """What the GPU gives, and what the emulation does, for each result."""
    only(variant, monkeypatch)
    there = [x.cpu().numpy() for x in call(*map(on_gpu, given))]
    with monkeypatch.context() as patch:
        patch.setattr(fused, "driver_of", lambda _: Emulation(folder))
        here = call(*given)
    return list(zip(there, here, strict=True))


def of(family: str) -> list[Variant]:
    return [v for v in VARIANTS if v.family == family]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v.symbol)
def test_nothing_spills_here_either(variant: Variant) -> None:
    fits(variant)
    found = driver._kernel(__import__("cupy"), 0, variant)
    assert found.local_size_bytes == 0
    assert found.num_regs * variant.threads <= 65536
    assert found.max_threads_per_block >= variant.threads


@pytest.mark.parametrize("batch", [0, 1, 65_536, 1_000_000])
def test_batches_of_any_size_are_right(batch: int) -> None:
    few = on_gpu(spd(50, 8, 10.0, "float32"))
    a = few.repeat(-(-max(batch, 1) // 50), 1, 1)[:batch]
    root = fused.iterate(a, STEPS, "trace", frozenset(["sqrt"])).sqrt
    right = fused.iterate(few, STEPS, "trace", frozenset(["sqrt"])).sqrt
    assert root.shape == a.shape
    for at in range(0, batch, 50 * 4096):
        part = root[at : at + 50]
        assert torch.equal(part, right[: len(part)])
    if batch:
        assert torch.equal(root[-1], right[(batch - 1) % 50])


def test_a_launch_waits_for_its_own_stream_and_no_other() -> None:
    """Its input is written late, on the stream of the moment: on any other it would read zeros."""
    a = on_gpu(spd(4, 32, 10.0, "float32"))
    right = fused.iterate(a, STEPS, "trace", BOTH)
    streams = [torch.cuda.Stream() for _ in range(2)]
    torch.cuda.synchronize()
    found = []
    for stream in streams:
        with torch.cuda.stream(stream):
            late = torch.zeros_like(a)
            torch.cuda._sleep(100_000_000)
            late.copy_(a)
            found.append((fused.iterate(late, STEPS, "trace", BOTH), late))
    torch.cuda.synchronize()
    for root, _ in found:
        assert torch.equal(root.sqrt, right.sqrt)
        assert torch.equal(root.isqrt, right.isqrt)


def test_a_captured_launch_is_replayed_with_new_matrices() -> None:
    a, b = (on_gpu(spd(4, 16, 10.0, "float32", seed)) for seed in (1, 2))
    right = fused.iterate(b, STEPS, "trace", BOTH).sqrt.clone()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        fused.iterate(a, STEPS, "trace", BOTH)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side):
        root = fused.iterate(a, STEPS, "trace", BOTH).sqrt
    a.copy_(b)
    graph.replay()
    assert torch.equal(root, right)


def test_matrices_of_any_layout() -> None:
    a = on_gpu(spd(4, 16, 10.0, "float32"))
    for view in (a.mT, a[::2], a[:1].expand(4, 16, 16), a.reshape(2, 2, 16, 16), a.flip(0)):
        found = fused.iterate(view, STEPS, "trace", BOTH).sqrt
        right = fused.iterate(view.contiguous(), STEPS, "trace", BOTH).sqrt
        assert found.shape == view.shape
        assert torch.equal(found, right)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_bad_matrix_ends_and_disturbs_no_neighbour(poison: float) -> None:
    a = on_gpu(spd(1000, 16, 10.0, "float32"))
    spoiled = a.clone()
    spoiled[3] = poison
    others = torch.arange(1000) != 3
    for call in (
        lambda x: fused.iterate(x, STEPS, "min_ws_minc", BOTH),
        lambda x: fused.jacobi(x, BOTH),
        lambda x: fused.iterate(x, STEPS, "trace", BOTH, "tf32x3"),
        lambda x: triton_roots.iterate(x, STEPS, "trace", BOTH, "tf32x3"),
    ):
        right, found = call(a), call(spoiled)
        assert torch.equal(right.sqrt[others], found.sqrt[others])


def test_cupy_arrays_are_served_as_torch_tensors_are() -> None:
    import cupy

    a = spd(5, 24, 100.0, "float64")
    there = fused.iterate(cupy.asarray(a), STEPS, "trace", BOTH).sqrt
    assert np.array_equal(
        cupy.asnumpy(there), fused.iterate(on_gpu(a), STEPS, "trace", BOTH).sqrt.cpu()
    )


def test_the_operator_has_a_gradient_and_torch_compile_sees_through_it() -> None:
    factors = schedule(0.05, 5, 4, (5, 5)).factors
    a = on_gpu(spd(2, 5, 10.0, "float64")).requires_grad_()

    def root(x: torch.Tensor) -> torch.Tensor:
        x = (x + x.mT) / 2
        y, z = operators.roots(x, factors)
        return y + z

    assert torch.autograd.gradcheck(root, (a,), eps=1e-6, atol=1e-5)
    whole = torch.compile(root, fullgraph=True)
    assert torch.allclose(whole(a), root(a), rtol=1e-12)
    coefficients, terms = operators.flattened(factors)
    torch.library.opcheck(
        torch.ops.mssbench.fused_roots.default, (a, coefficients, terms, "trace", "")
    )


# Each size, norm and kind of operands is a kernel to compile: not every product of them.
@pytest.mark.parametrize("operands", ["tf32x3", "tf32", "bfloat16"])
@pytest.mark.parametrize(
    ("n", "norm"),
    [
        (1, "trace"),
        (3, "trace"),
        (16, "trace"),
        (16, "frobenius"),
        (16, "min_ws_minc"),
        (30, "min_ws_minc"),
        (32, "min_ws_minc"),
        (50, "min_ws_minc"),
        (64, "min_ws_minc"),
    ],
)
def test_triton_is_as_exact_as_its_operands(n: int, operands: Any, norm: Any) -> None:
    if n > triton_roots.SHAPES[operands][-1].size:
        pytest.skip("refused")
    # sums in tensor cores are cut off where a float32 unit rounds
    limit = {"tf32x3": 1e-5, "tf32": 2e-2, "bfloat16": 0.2}[operands]
    a = spd(3, n, 10.0, "float32")
    found = fused_triton(on_gpu(a), BOTH, operands=operands, norm=norm)
    assert error(found.sqrt.cpu().numpy(), truth(a)[0]) < limit
    if operands == "tf32x3":
        assert error(found.isqrt.cpu().numpy(), truth(a)[1]) < 4 * limit


@pytest.mark.parametrize("n", [8, 32, 33, 64])
def test_a_step_is_two_launches(n: int) -> None:
    cell = replace(
        CELL,
        device="cuda",
        precision="float32",
        size=n,
        forward="fused",
        backward="lyapunov_fused",
        iterations=4,
        backward_iterations=6,
    )
    rows = [m.row() for m in measure(cell, FAST).measurements if m.phase == "step"]
    assert {r["status"] for r in rows} <= {"ok", str(Status.UNSUPPORTED)}, rows
    assert {r["launches"] for r in rows if r["clock"] == "gpu"} == {2}
    graph = next(r for r in rows if r["clock"] == "graph")
    assert graph["status"] == "ok", graph["reason"]


@pytest.mark.parametrize("library", ["torch", "cupy"])
def test_what_a_kernel_reaches_of_the_limit_is_known(library: str) -> None:
    """Also of its gradient, which torch computes in a thread of its own."""
    cell = replace(
        CELL,
        library=library,
        device="cuda",
        precision="float32",
        size=32,
        batch=10_000,
        forward="fused",
        backward="lyapunov_fused",
        iterations=4,
        backward_iterations=6,
    )
    rows = [m.row() for m in measure(cell, FAST).measurements]
    timed = [r for r in rows if r["clock"] == "gpu" and r["status"] == "ok"]
    assert {r["phase"] for r in timed} == {"backward", "step"}, rows
    # degree 5: of two roots, as the gradient of the root needs one; see test_effort.py
    products = {"backward": 0.5 + 5.5 * 6 - 0.5, "step": 0.5 + 5.5 * 6 - 0.5 + 1.5 + 3 * 3 + 2.5}
    for r in timed:
        assert r["products"] == products[r["phase"]]
        assert r["flops"] == r["products"] * 2 * 32**3 * 10_000
        assert r["limit_seconds"] > 0
        assert 0 < r["limit_fraction"] < 2


def test_a_second_gpu_computes_on_itself() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU")
    a = torch.from_numpy(spd(4, 16, 10.0, "float32"))
    found = [fused.iterate(a.to(f"cuda:{i}"), STEPS, "trace", BOTH).sqrt for i in (0, 1)]
    assert found[1].device.index == 1
    assert torch.equal(found[0].cpu(), found[1].cpu())


def test_what_does_not_fit_this_gpu_is_refused_before_a_launch() -> None:
    with pytest.raises(Unsupported, match="n <= 128"):
        fused.iterate(torch.eye(200, device="cuda")[None], STEPS, "trace", BOTH)


# Last, for it takes longest.


@pytest.mark.parametrize("variant", BY_FMA, ids=lambda v: v.symbol)
def test_a_gpu_gives_the_bits_of_the_emulation(
    variant: Variant, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits(variant)
    # every way through a step
    mixed: tuple[Factor, ...] = (taylor(5), taylor(3), taylor(5), taylor(3))
    if variant.buffers > 3:
        mixed = (taylor(9), *mixed, taylor(9))
    for n in (variant.size, variant.size - 3):
        g = spd(variant.per_block + 1, n, 4.0, variant.dtype, seed=7)
        a = spd(variant.per_block + 1, n, 100.0, variant.dtype)
        call: Any
        if variant.family == "iterate":
            call, given = partial(_roots, mixed), [a]
        elif variant.family == "jacobi":
            call, given = _spectral, [a]
        elif variant.family == "lyapunov":
            call = partial(_gradients, schedule(0.05, 5, 3, (3,)).factors)
            given = [*(x.astype(variant.dtype) for x in truth(a)), g]
        else:
            call, given = _divided, [*(x.astype(variant.dtype) for x in np.linalg.eigh(a)), g]
        for there, here in both_ways(monkeypatch, built, variant, call, *given):
            assert np.array_equal(there, here), (n, np.abs(there - here).max())


@pytest.mark.parametrize("variant", WARPS, ids=lambda v: v.symbol)
def test_tensor_cores_give_the_emulation_but_for_what_their_sums_cut_off(
    variant: Variant, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much that is has been seen and is nowhere promised: the bits may be others."""
    fits(variant)
    n, operands = variant.size - 3, variant.operands
    assert operands
    limit = {"tf32x3": 1e-5, "tf32": 2e-2, "bfloat16": 0.2}[operands]
    a, g = spd(2, n, 10.0, "float32"), spd(2, n, 4.0, "float32", seed=7)
    if variant.family == "iterate":
        first = taylor(9) if variant.buffers > 3 else taylor(5)
        factors = (first, *schedule(0.3, 5, 2, (3,)).factors)
        call, given = partial(_roots, factors, operands=operands), [a]
    else:
        factors = schedule(0.2, 5, 2, (3,)).factors
        call = partial(_gradients, factors, operands=operands)
        given = [*(x.astype("float32") for x in truth(a)), g]
    for there, here in both_ways(monkeypatch, built, variant, call, *given):
        assert error(there, here) < limit
        assert (there == there.transpose(0, 2, 1)).all()


@pytest.mark.parametrize("n", [1, 32, 50, 64, 96, 128])
@pytest.mark.parametrize("operands", UNIT)
def test_tensor_cores_are_as_exact_as_their_operands(n: int, operands: Any) -> None:
    limit = {"tf32x3": 1e-6, "tf32": 2e-3, "bfloat16": 2e-2}[operands]
    a = spd(3, n, 10.0, "float32")
    found = fused_tensor_cores(on_gpu(a), BOTH, operands=operands)
    y, z = truth(a)
    assert error(found.sqrt.cpu().numpy(), y) < limit
    assert error(found.isqrt.cpu().numpy(), z) < 4 * limit


def _roots(factors: Any, a: Any, operands: Any = None) -> list[Any]:
    return list(fused.iterate(a, factors, "min_ws_minc", BOTH, operands)[:2])


def _spectral(a: Any) -> list[Any]:
    root = fused.jacobi(a, frozenset((*BOTH, "eigen")))
    assert root.eigen is not None
    return [root.sqrt, root.isqrt, *root.eigen]


def _gradients(factors: Any, y: Any, z: Any, g: Any, operands: Any = None) -> list[Any]:
    return [fused.lyapunov(Root(y, z), f, g, factors, operands) for f in FUNCTIONS]


def _divided(w: Any, v: Any, g: Any) -> list[Any]:
    return [fused.loewner((w, v), f, g) for f in FUNCTIONS]
