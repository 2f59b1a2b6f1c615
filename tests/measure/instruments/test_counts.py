"""What a call does is counted in the running code, and is what its cost model says."""

import ctypes
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.fake_cuda import FakeCuda
from helpers.matrices import ON_CPU, TORCH64, Cost, generous
from torch.utils._python_dispatch import TorchDispatchMode

from mssbench.measure import roofline
from mssbench.measure.inputs import Rotation
from mssbench.measure.instruments import counts
from mssbench.measure.instruments.clocks import CaptureFailed
from mssbench.measure.work import counted, work
from mssbench.methods import pair as roots
from mssbench.records.cell import Cell
from mssbench.run import finish
from mssbench.testing.matrices import spectrum, with_spectrum

ON_TORCH = [m for m in ON_CPU if "torch" in m.libraries]


@pytest.mark.parametrize("method", ON_TORCH, ids=lambda m: m.name)
def test_products_are_those_of_the_cost_model_and_matrix_times_vector(method):
    a = TORCH64.put(with_spectrum(spectrum("near_one", max(method.sizes, default=6)), batch=3))
    given = method.complete(generous(method))
    function = method.functions[0]
    with Cost() as cost:
        method.call(a, frozenset([function]), **given)
    with counts.OperatorCounter(a) as watch:
        method.call(a, frozenset([function]), **given)
    found = watch.counts()
    assert cost.total <= found.products + 1e-12
    assert found.products <= 1.2 * cost.total + 8
    assert found.operators > 0
    assert found.flops >= found.products * 2 * a.shape[-1] ** 3 * 3


def test_a_product_of_another_shape_counts_by_its_work():
    a = torch.ones(4, 8, 8)
    with counts.OperatorCounter(a) as watch:
        a @ a
        a[:2] @ a[:2]
        a @ a[..., :1]
        a[0] @ a[0]
        torch.baddbmm(a, a, a)
        torch.add(a, a)
        a.transpose(1, 2)
        a.double() @ a.double()
    found = watch.counts()
    assert found.certain == pytest.approx(1 + 1 / 2 + 1 / 8 + 1 / 4 + 1)
    assert found.products == pytest.approx(found.certain + 1)  # one of them in another precision
    assert found.operators == 9  # a view is none, two copies are


def test_a_decomposition_is_an_estimate_and_no_product():
    a = torch.eye(6).repeat(2, 1, 1)
    with counts.OperatorCounter(a) as watch:
        torch.linalg.eigh(a)
        torch.linalg.svd(a)
        torch.linalg.solve(a, a)
    found = watch.counts()
    assert found.products == pytest.approx(4 / 3)
    with counts.OperatorCounter(a) as thin:
        torch.linalg.solve(
            a, a[..., :2]
        )  # a third of a product for its factors, and 2 of 6 columns
        lu, pivots = torch.linalg.lu_factor(a)
        torch.linalg.lu_solve(lu, pivots, a[..., :3])
    assert thin.counts().products == pytest.approx((1 / 3 + 2 / 6) + 1 / 3 + 3 / 6)
    assert found.flops == pytest.approx((4.5 + 11 + 4 / 3) * 2 * 6**3 * 2)


def test_counts_are_the_same_every_time_and_add_up():
    a = torch.tensor(with_spectrum(spectrum("near_one", 5), batch=4))
    x = Rotation(a, a, 0).first
    pair = roots.pair("sqrt", "newton_schulz", "lyapunov_newton_schulz", (("iterations", 5),))
    first, second = work(pair, "torch", "cpu", x), work(pair, "torch", "cpu", x)
    for name in ("products", "operators", "flops", "saved_bytes"):
        assert first["step"][name] == second["step"][name]
    alone = work(roots.pair("sqrt", "newton_schulz", None, (("iterations", 5),)), "torch", "cpu", x)
    forward, backward, step = alone["forward"], first["backward"], first["step"]
    assert forward["products"] + backward["products"] == step["products"]
    assert step["launches"] is None  # no kernel is launched on a CPU


class _Operators(TorchDispatchMode):
    """Counts the operators that are neither views nor bookkeeping, without the product's code."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func.overloadpacket.__name__ not in counts._FREE
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        ("eigh", "loewner"),
        ("svd", "autodiff"),
        ("newton_schulz", "autodiff"),
        ("pade", "lyapunov_newton_schulz"),
    ],
)
def test_what_measures_memory_adds_no_operator_to_a_step(forward: str, backward: str) -> None:
    a = torch.tensor(with_spectrum(spectrum("near_one", 5), batch=4))
    x = Rotation(a, a, 0).first
    pair = roots.pair("sqrt", forward, backward)

    with _Operators() as operators:
        leaf = x.a.detach().requires_grad_()
        torch.autograd.grad(pair(leaf), leaf, x.g)

    with_memory = work(pair, "torch", "cpu", x)["step"]
    assert with_memory["operators"] == operators.count
    assert counted(pair, x).operators == operators.count


def test_threads_of_ours_are_counted():
    a = torch.eye(4).repeat(6, 1, 1)
    parallel, plain = (
        work(roots.pair("sqrt", name, None), "torch", "cpu", Rotation(a, a, 0).first)["forward"]
        for name in ("eigh_parallel", "eigh")
    )
    assert parallel["products"] == plain["products"] == 1
    assert parallel["flops"] == plain["flops"]


def test_of_other_libraries_only_bytes_are_known():
    a = np.stack([np.eye(4)] * 2)
    found = work(roots.pair("sqrt", "eigh", None), "numpy", "cpu", Rotation(a, a, 0).first)
    assert found["forward"]["products"] is found["forward"]["operators"] is None
    assert found["forward"]["peak_bytes"] > 0


# Kernels, counted in a CUDA graph.

KERNEL, COPY, FILL, CHILD, EMPTY, CONDITIONAL = 0, 1, 2, 4, 5, 13


class FakeDriver:
    """libcuda with graphs: by their handle, the nodes of each as (type, handle of a graph inside).

    fails: the function that answers with an error.
    """

    def __init__(self, graphs: dict[int, list[tuple[int, int]]], fails: str = "") -> None:
        self.graphs, self.fails = graphs, fails

    def cuGraphGetNodes(self, graph: Any, nodes: Any, count: Any) -> int:
        found = self.graphs[graph.value]
        if nodes is None:
            count._obj.value = len(found)
            return int(self.fails == "count")
        assert count._obj.value == len(found)
        for i in range(len(found)):
            nodes[i] = 1000 * graph.value + i
        return int(self.fails == "nodes")

    def cuGraphNodeGetType(self, node: Any, kind: Any) -> int:
        kind._obj.value = self._of(node)[0]
        return int(self.fails == "type")

    def cuGraphChildGraphNodeGetGraph(self, node: Any, graph: Any) -> int:
        graph._obj.value = self._of(node)[1]
        return int(self.fails == "child")

    def _of(self, node: Any) -> tuple[int, int]:
        graph, i = divmod(node.value or 0, 1000)
        return self.graphs[graph][i]


GRAPHS = {
    1: [(KERNEL, 0), (COPY, 0), (CHILD, 2), (FILL, 0), (KERNEL, 0)],
    2: [(KERNEL, 0), (EMPTY, 0), (CHILD, 3)],
    3: [(KERNEL, 0), (KERNEL, 0)],
    4: [],
    5: [(KERNEL, 0), (CHILD, 6)],
    6: [(CONDITIONAL, 0)],
}


@pytest.mark.parametrize(("graph", "count"), [(1, 5), (2, 3), (3, 2), (4, 0), (5, None), (6, None)])
def test_kernels_of_a_graph_are_its_nodes_of_that_kind_and_of_the_graphs_inside(graph, count):
    assert counts.kernel_nodes(graph, FakeDriver(GRAPHS)) == count


@pytest.mark.parametrize("fails", ["count", "nodes", "type", "child"])
def test_what_the_driver_does_not_say_of_a_graph_is_not_known(fails):
    assert counts.kernel_nodes(1, FakeDriver(GRAPHS, fails)) is None


@pytest.fixture
def cuda(monkeypatch):
    """A device whose graphs have as many kernels as were captured."""
    fake = FakeCuda()
    monkeypatch.setattr(torch, "cuda", fake)
    driver = FakeDriver({n: [(KERNEL, 0)] * n for n in range(50)})
    monkeypatch.setattr(ctypes, "CDLL", lambda name: {"libcuda.so.1": driver}[name])
    return fake


def test_launches_are_counted_in_a_capture_and_by_no_profiler(cuda, monkeypatch):
    def never(*_, **__):
        raise AssertionError("what has attached CUPTI slows every later launch of the process")

    monkeypatch.setattr(torch.autograd.profiler, "profile", never)
    calls = []

    def call(count):
        calls.append(cuda.captured is not None)
        for _ in range(count):
            cuda.run(1e-6)

    assert counts.launches(call, 7) == 7
    assert calls == [False, False, False, True]  # libraries start before the capture


def test_what_waits_for_the_device_cannot_be_counted(cuda):
    with pytest.raises(CaptureFailed, match="operation not permitted"):
        counts.launches(lambda _: cuda.synchronize(), None)
    assert cuda.now == "default"


CEILINGS = {"float64": 1e9, "bytes_per_second": 1e9, "calls_per_second": 1e6}
WORKED = Cell(
    "numpy", "eigh", "none", "sqrt", "wishart(ratio=4)", 10, 5, None, None, "", "float64", "cpu", 0
)


def limited(phase="forward", function="sqrt", flops=1.0, certain=0.0, rounded=False, size=1e6):
    known = {"flops": flops, "certain": certain, "rounded": rounded}
    return roofline.limit(replace(WORKED, function=function), phase, int(size), known, CEILINGS)


def test_a_limit_is_the_longest_of_products_memory_and_one_launch():
    assert limited(flops=5e6)[:2] == (5e-3, "compute")
    arrays = {"forward": 2, "backward": 3, "step": 4}
    for phase, count in arrays.items():
        assert limited(phase)[:2] == (pytest.approx(count * 1e-3), "memory")
    for phase, count in {"forward": 1, "backward": 2, "step": 2}.items():  # vectors weigh nothing
        assert limited(phase, "isqrt_b")[:2] == (pytest.approx(count * 1e-3), "memory")
    assert limited(size=1)[:2] == (1e-6, "launches")
    # of what is certain: 3 products of 5 matrices of size 10, 2 n³ operations each
    assert limited(certain=3.0).certain == pytest.approx(3 * 5 * 2e3 / 1e9)
    assert limited(certain=3.0, rounded=True)[:2] == (None, "")
    assert limited(flops=None) is None


def test_half_of_what_is_certain_is_what_is_too_fast():
    found = limited(certain=1e3)
    assert found.exceeded_by(0.499 * found.certain)
    assert not found.exceeded_by(0.501 * found.certain)


def test_what_counts_as_the_same_error_is_within_a_factor_of_two():
    def row(error, limit, **more):
        return (
            dict.fromkeys(finish._GROUP)
            | {
                "phase": "forward",
                "status": "ok",
                "root_error": error,
                "limit_seconds": limit,
                "seconds_median": 1.0,
                "gradient_error": None,
                "flags": "",
            }
            | more
        )

    cheap, exact = row(2e-6, 0.1), row(1e-6, 0.4)
    assert finish.problem_fractions([cheap, exact]) == [0.1, 0.1]
    assert finish.problem_fractions([row(2.01e-6, 0.1), exact]) == [0.1, 0.4]
    wrong = row(1e-6, 0.01, status="inaccurate")  # it has a fraction, and sets none
    assert finish.problem_fractions([wrong, exact]) == [0.4, 0.4]
    assert finish.problem_fractions([row(None, 0.1), exact]) == [None, 0.4]


@pytest.mark.slow
def test_counting_does_not_import_the_compiler_of_torch() -> None:
    """It takes over a second, in every worker."""
    code = """
import sys, torch
from mssbench.measure.instruments.counts import OperatorCounter
a = torch.eye(3)[None]
with OperatorCounter(a) as watch:
    a @ a
assert watch.counts().products == 1
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
