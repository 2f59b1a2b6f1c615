"""What a launch of our kernels announces is what it does, and whoever counts hears of its own."""

import ctypes
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import emulated
from helpers.cells import CELL, FAST
from helpers.emulated import Emulation
from helpers.kernels import only

from mssbench.errors import Unsupported
from mssbench.measure import prepared
from mssbench.measure.inputs import Input, Rotation
from mssbench.measure.instruments import ceilings, counts
from mssbench.measure.measure import measure
from mssbench.measure.roofline import limit
from mssbench.measure.work import work
from mssbench.methods import pair as roots
from mssbench.methods import registry
from mssbench.methods.kernels import effort, factors, fused, triton_roots
from mssbench.methods.kernels.variants import VARIANTS, Variant
from mssbench.methods.method import Root, Wanted
from mssbench.methods.minimax import Factor, taylor
from mssbench.methods.registry import register_backward, register_forward

SQRT, ISQRT, BOTH = (frozenset(x) for x in (("sqrt",), ("isqrt",), ("sqrt", "isqrt")))
THREE, FIVE, NINE = (taylor(degree) for degree in (3, 5, 9))


@pytest.fixture(autouse=True)
def nobody_stays(gpu: Emulation) -> Iterator[None]:
    yield
    assert effort.listeners == []


def batch(b: int = 3, n: int = 5, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """No kernel is made for 5 rows: they are padded to 8."""
    x = torch.randn(b, n, 3 * n, dtype=dtype, generator=torch.Generator().manual_seed(n))
    return x @ x.mT / (3 * n) + 0.2 * torch.eye(n, dtype=dtype)


def watched(a: torch.Tensor, call: Callable[[torch.Tensor], object]) -> counts.Counts:
    with counts.OperatorCounter(a) as watch:
        call(a)
    return watch.counts()


# By hand: of each step W = Z Y, the powers of W, and half a product each for Y T and T Z.
ITERATE = [
    pytest.param((THREE,), BOTH, 0.5, id="one-step"),  # W = Y and Z = T cost none
    pytest.param((THREE,), ISQRT, 0.0, id="one-step-isqrt"),
    pytest.param((THREE,) * 3, BOTH, 0.5 + 2 + 2, id="3-both"),
    pytest.param((THREE,) * 3, SQRT, 0.5 + 2 + 1.5, id="3-sqrt"),
    pytest.param((FIVE,) * 3, BOTH, 1.5 + 3 + 3, id="5-both"),
    pytest.param((FIVE,) * 3, ISQRT, 1.5 + 3 + 2.5, id="5-isqrt"),
    pytest.param((NINE,) * 2, BOTH, 2.5 + 4, id="9-both"),
    pytest.param((NINE,) * 2, SQRT, 2.5 + 3.5, id="9-sqrt"),
    pytest.param((NINE, THREE, FIVE), BOTH, 2.5 + 2 + 3, id="mixed"),
]


@pytest.mark.sampled(2, slow=1)
@pytest.mark.parametrize(("factors", "wanted", "due"), ITERATE)
def test_the_iteration_counts_what_its_steps_take(
    gpu: Emulation, factors: tuple[Factor, ...], wanted: Wanted, due: float
) -> None:
    found = watched(batch(), lambda a: fused.iterate(a, factors, "trace", wanted))
    assert found == (due, due, 0, 1, None, due * 2 * 5**3 * 3)
    assert len(gpu.launches) == 1


@pytest.mark.sampled(1, slow=0)
@pytest.mark.parametrize(
    ("factor", "function", "due"),
    [
        (THREE, "sqrt", 0.5 + 4 + 3.5),
        (THREE, "isqrt", 1.5 + 0.5 + 4 + 3.5),
        (FIVE, "sqrt", 0.5 + 5.5 + 5),
        (FIVE, "isqrt", 1.5 + 0.5 + 5.5 + 5),
    ],
)
def test_the_gradient_counts_its_triangles(factor: Factor, function: Any, due: float) -> None:
    """B²; of each step B², two for D, as many again in degree 5, and B H and four for C."""
    root = Root(batch(), batch())
    found = watched(batch(), lambda g: fused.lyapunov(root, function, g, (factor,) * 2))
    assert found == (due, due, 0, 1, None, due * 2 * 5**3 * 3)


@pytest.mark.slow
def test_the_gradient_in_the_eigenbasis_is_three_products() -> None:
    w, v = torch.linalg.eigh(batch())
    v = v.contiguous()  # a copy would be an operator
    found = watched(batch(), lambda g: fused.loewner((w, v), "sqrt", g))
    assert found == (3, 3, 0, 1, None, 3 * 2 * 5**3 * 3)


@pytest.mark.sampled(1, slow=0)
@pytest.mark.parametrize(("wanted", "due"), [(BOTH, 2), (SQRT, 1), (frozenset(["eigen"]), 0)])
def test_of_jacobi_only_the_roots_are_certain(wanted: Wanted, due: int) -> None:
    found = watched(batch(), lambda a: fused.jacobi(a, wanted))
    assert (found.products, found.certain, found.operators) == (due, due, 1)
    assert found.flops == (due + 8 * 4) * 2 * 5**3 * 3


def tiles(
    monkeypatch: pytest.MonkeyPatch,
    gpu: Emulation,
    variant: Variant,
    call: Callable[[torch.Tensor], object],
) -> float:
    """Products that a kernel takes of each matrix, counted in it: R x R numbers at a time."""
    engine = f"struct {variant.engine} :"

    def counting(variant: Variant) -> str:
        before, name, after = real(variant).partition(engine)
        inside, end, rest = after.partition("\n};")
        inside, found = re.subn(
            r"void (product|add_sum)\([^{]*\{",
            r"\g<0> ++mss_tiles;",
            inside,
        )
        assert found == 2
        if variant.operands:  # there add_sum is a call of product
            inside = inside.replace("++mss_tiles;", "", 1)
        text = before + name + inside + end + rest
        return f'extern "C" {{ long mss_tiles = 0; }}\n{text}'

    real = emulated.source
    with monkeypatch.context() as patch:
        patch.setattr(emulated, "source", counting)
        only(variant, patch)
        found = ctypes.c_long.in_dll(emulated.compiled(variant, gpu.folder), "mss_tiles")
        found.value = 0
        call(batch(variant.per_block, variant.size))
    lanes = 32 if variant.operands else 1
    return float(found.value / lanes / variant.per_block / (variant.size // variant.tile) ** 2)


Call = Callable[[torch.Tensor, Any], object]
KERNELS: dict[str, tuple[str, int, Call]] = {
    "iterate": ("iterate", 3, lambda a, o: fused.iterate(a, (FIVE, THREE, FIVE), "trace", BOTH, o)),
    "iterate-one": ("iterate", 3, lambda a, o: fused.iterate(a, (THREE, FIVE), "trace", ISQRT, o)),
    "iterate-9": ("iterate", 4, lambda a, o: fused.iterate(a, (NINE, THREE), "trace", SQRT, o)),
    "lyapunov": ("lyapunov", 0, lambda a, o: fused.lyapunov(Root(a), "sqrt", a, (FIVE, THREE), o)),
    "inverse": ("lyapunov", 0, lambda a, o: fused.lyapunov(Root(a, a), "isqrt", a, (FIVE,) * 2, o)),
    "loewner": ("loewner", 0, lambda a, _: fused.loewner((a[..., 0], a), "sqrt", a)),
}
QUICK = ("iterate-one", "inverse", "loewner")  # one of each family; the others are marked slow


@pytest.mark.sampled(1, slow=2)
@pytest.mark.parametrize(
    ("name", "operands"),
    [
        *(
            pytest.param(name, None, marks=[] if name in QUICK else pytest.mark.slow)
            for name in KERNELS
        ),
        *(
            pytest.param(name, "tf32x3", marks=pytest.mark.slow)
            for name in KERNELS
            if name != "loewner"
        ),
    ],
)
def test_a_kernel_takes_the_products_that_it_announces(
    gpu: Emulation, name: str, operands: Any, monkeypatch: pytest.MonkeyPatch, built: Path
) -> None:
    """A triangle of E x E tiles has E more than half of them: two sizes tell what half is exact."""
    family, buffers, call = KERNELS[name]
    gpu.folder = built / "counting"  # the same kernels, with a counter in each
    gpu.folder.mkdir(exist_ok=True)
    tile, sizes = (32, (32, 64)) if operands else (4, (16, 32))
    coarse, fine = (
        next(
            v
            for v in VARIANTS
            if (v.family, v.dtype, v.size, v.tile, v.buffers, v.operands)
            == (family, "float32", n, tile, buffers, operands)
        )
        for n in sizes
    )

    def one(a: torch.Tensor) -> object:
        return call(a, operands)

    found = [tiles(monkeypatch, gpu, v, one) for v in (coarse, fine)]
    told = watched(batch(2, 16), one)
    assert 2 * found[1] - found[0] == told.products
    assert found[0] > found[1]
    assert told.certain == (0 if operands else told.products)  # another ceiling is theirs


@pytest.mark.slow
def test_a_part_of_the_batch_counts_as_that_and_another_precision_is_not_certain() -> None:
    def some(a: torch.Tensor) -> None:
        fused.iterate(a[:1], (FIVE,) * 3, "trace", BOTH)
        fused.iterate(a[:2].double(), (FIVE,) * 3, "trace", BOTH)
        fused.iterate(a[:0], (FIVE,), "trace", BOTH)  # launches nothing
        fused.iterate(torch.eye(10), (FIVE,) * 3, "trace", BOTH)  # eight of n = 5, of three
        a @ a

    found = watched(batch(), some)
    assert found.products == pytest.approx(7.5 * (1 / 3 + 2 / 3 + 8 / 3) + 1)
    assert found.certain == pytest.approx(7.5 * (1 / 3 + 8 / 3) + 1)


def test_where_nobody_counts_nothing_is_told_and_nothing_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, told = batch(), []
    monkeypatch.setattr(effort, "announce", lambda *_, **__: told.append(1))
    fused.iterate(a, (THREE,), "trace", BOTH)
    assert told == []
    for watch in (counts.OperatorCounter(a), counts.LaunchCounter(a)):
        with pytest.raises(Unsupported), watch:
            fused.iterate(a, ((1.0,) * 4,), "trace", BOTH)
        assert effort.listeners == []
        with watch:
            fused.iterate(a, (THREE,), "trace", BOTH)
    assert told == [1, 1]


def in_a_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


@pytest.mark.parametrize("kind", [counts.OperatorCounter, counts.LaunchCounter])
def test_threads_do_not_hear_each_other(kind: Any) -> None:
    a = batch()
    theirs = []

    def other() -> None:
        fused.iterate(a, (THREE,) * 3, "trace", BOTH)
        with kind(a) as watch:
            fused.iterate(a, (FIVE,) * 3, "trace", BOTH)
        theirs.append(watch._sum.counts().products)

    with kind(a) as watch:
        in_a_thread(other)
        assert watch._sum.counts().products == 0
        fused.iterate(a, (NINE,) * 2, "trace", BOTH)
    assert watch._sum.counts().products == 6.5
    assert theirs == [7.5]


class Nested(torch.autograd.Function):
    """Its backward runs another one, and so on: torch gives the deepest to a thread of its own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, depth: int, call: Callable[[], object]) -> torch.Tensor:
        ctx.depth, ctx.call = depth, call
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:  # type: ignore[override]
        if ctx.depth == 0:
            ctx.call()
        else:
            with torch.enable_grad():
                x = torch.ones(1, requires_grad=True)
                Nested.apply(x, ctx.depth - 1, ctx.call).backward()  # type: ignore[no-untyped-call]
        return g, None, None


def test_a_launch_in_a_thread_of_autograd_s_is_heard() -> None:
    """As every backward on a GPU is."""
    a = batch()
    threads = []

    def call() -> None:
        threads.append(threading.get_ident())
        fused.iterate(a, (FIVE,) * 3, "trace", BOTH)

    x = torch.ones(1, requires_grad=True)
    with counts.OperatorCounter(a) as watch:
        Nested.apply(x, 80, call).backward()  # type: ignore[no-untyped-call]
    assert threads
    assert threading.get_ident() not in threads
    assert watch.counts().products == 7.5


class _Launched:
    """In place of Triton's module, which launches nothing here."""

    def __getitem__(self, grid: tuple[int]) -> Callable[..., None]:
        return lambda *_, **__: None


@pytest.mark.parametrize("operands", ["tf32x3", "tf32", "bfloat16"])
@pytest.mark.parametrize(
    ("factors", "due"), [((THREE,) * 4, 12), ((FIVE,) * 3, 12), ((FIVE, THREE), 8)]
)
def test_products_on_tensor_cores_count_once_and_are_bound_by_no_ceiling_of_float32(
    monkeypatch: pytest.MonkeyPatch, factors: Sequence[Factor], due: float, operands: Any
) -> None:
    monkeypatch.setattr(triton_roots, "interpreted", lambda: True)
    monkeypatch.setattr(triton_roots, "_module", lambda: SimpleNamespace(iterate=_Launched()))
    a = batch()
    triton_roots.iterate(a, factors, "trace", SQRT, operands)  # its coefficients are made once
    found = watched(a, lambda a: triton_roots.iterate(a, factors, "trace", SQRT, operands))
    assert found == (due, 0, due, 1, None, due * 2 * 5**3 * 3)


# `fused` of three steps in degree 3, and `lyapunov_fused` of its six in degree 5.
KERNEL_PAIR = (("backward_degree", 5), ("degree", 3), ("finish", 3), ("iterations", 0))
FORWARD, BACKWARD = 4.0, 0.5 + 5.5 * 5 + 5.0


def inputs(library: str) -> Input:
    a = batch(dtype=torch.float64)
    x = a if library == "torch" else a.numpy()
    return Rotation(x, x, 0).first


def counted(library: str, forward: str, backward: str | None, *given: Any) -> Any:
    pair = roots.pair("sqrt", forward, backward, tuple(sorted(given)))
    return work(pair, library, "cpu", inputs(library))


@pytest.mark.sampled(1, slow=0)
@pytest.mark.parametrize("library", ["torch", "numpy"])  # cupy is treated as numpy is
@pytest.mark.slow
def test_a_pair_of_kernels_is_counted_phase_by_phase(library: str) -> None:
    found = counted(library, "fused", "lyapunov_fused", *KERNEL_PAIR)
    for phase, due in (("backward", BACKWARD), ("step", FORWARD + BACKWARD)):
        assert found[phase]["products"] == found[phase]["certain"] == due
        assert found[phase]["flops"] == due * 2 * 5**3 * 3
    assert counted(library, "fused", None, *KERNEL_PAIR[1:])["forward"]["products"] == FORWARD
    if library == "numpy":
        assert (found["backward"]["operators"], found["step"]["operators"]) == (1, 2)
    spectral = counted(library, "jacobi", "loewner_fused")["step"]
    assert (spectral["products"], spectral["certain"]) == (4, 4)


@pytest.fixture
def mixed() -> Iterator[None]:
    """Methods that launch a kernel, and do something beside."""
    with registry.temporarily():

        @register_forward(cite="a test", products=lambda: 1.0, libraries=("numpy",))
        def undeclared(a: Any, wanted: Wanted) -> Root:
            return fused.iterate(a @ a, (THREE,) * 3, "trace", wanted)

        @register_forward(cite="a test", products=lambda: 1.0, libraries=("numpy",), launches=2)
        def declared(a: Any, wanted: Wanted) -> Root:
            return fused.iterate(a @ a, (THREE,) * 3, "trace", wanted)

        @register_backward(cite="a test", products=lambda: 1.0, launches=1)
        def unsymmetric(root: Root, function: Any, g: Any) -> Any:
            return fused.lyapunov(root, function, g, (THREE,) * 3)

        yield
    roots.forget()


@pytest.mark.sampled(1, slow=1)
@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        ("undeclared", None),
        ("declared", None),
        ("eigh", None),
        ("eigh", "loewner_fused"),
        ("fused", "lyapunov_newton_schulz"),
        ("fused", "unsymmetric"),
        ("undeclared", "lyapunov_fused"),
        ("declared", "lyapunov_fused"),
    ],
)
def test_of_a_library_that_none_can_watch_work_beside_kernels_leaves_all_unknown(
    mixed: None, forward: str, backward: str | None
) -> None:
    for columns in counted("numpy", forward, backward).values():
        for name in ("products", "certain", "operators", "flops"):
            assert columns[name] is None, name


CEILINGS = {"float32": 1e9, "float64": 1e9, "bytes_per_second": 1e9, "calls_per_second": 1e6}


@pytest.mark.slow
def test_the_limit_is_that_of_what_a_launch_does() -> None:
    a, due = batch(4, 20), 7.0 * 2 * 20**3 * 4
    known = watched(a, lambda a: fused.iterate(a, (FIVE,) * 3, "trace", SQRT))._asdict()
    cell = replace(CELL, forward="fused", precision="float32", size=20, batch=4)
    found = limit(cell, "forward", a.nbytes, known, CEILINGS)
    assert found == (due / 1e9, "compute", due / 1e9)
    many = CEILINGS | {"float32": 1e15}
    found = limit(cell, "forward", a.nbytes, known, many)
    assert found == (2 * a.nbytes / 1e9, "memory", due / 1e15)  # A is read once, Y written once
    found = limit(cell, "forward", a.nbytes, known, many | {"bytes_per_second": 1e15})
    assert found == (1e-6, "launches", due / 1e15)


def test_a_measured_row_of_a_kernel_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings.Ceilings, "best", lambda *_: CEILINGS | {"float64": 1e20})
    monkeypatch.setattr(prepared, "refuse", lambda *_: None)  # the kernel is emulated on the CPU
    cell = replace(
        CELL, forward="fused", backward="lyapunov_fused", iterations=4, backward_iterations=6
    )
    for m in measure(cell, FAST).measurements:
        row = m.row()
        assert row["status"] == "ok", row["reason"]
        assert row["flops"] > 0
        assert row["products"] > 0
        assert row["bound"] == "memory"
        assert row["limit_fraction"] == pytest.approx(row["limit_seconds"] / row["seconds_median"])


@pytest.mark.parametrize("degree", [3, 5])
@pytest.mark.parametrize("finish", [0, 1, 2])
@pytest.mark.parametrize("iterations", [0, 1, 3])
def test_the_cost_of_a_gradient_has_as_many_steps_as_are_taken(degree, iterations, finish):
    taken = len(factors.of_gradient(degree, iterations, finish, 2.0**-24, 16))
    by_step = {3: 5.0, 5: 7.0}[degree]
    assert factors.gradient_products(degree, iterations, finish) == 1 + by_step * taken
