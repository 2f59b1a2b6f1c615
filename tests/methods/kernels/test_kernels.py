"""The CUDA kernels, run on a CPU: right for every size, and in whatever order threads run."""

from typing import Any

import numpy as np
import pytest
from helpers.emulated import Emulation
from helpers.kernels import (
    BARRIERS,
    BOTH,
    ITERATE,
    LIMIT,
    SMALL,
    by_size,
    error,
    everything,
    factors_of,
    missed,
    only,
    planned,
    spd,
    truth,
    truth_of_rank,
)

from mssbench.arrays import product_unit
from mssbench.methods.kernels import fused
from mssbench.methods.kernels.planner import LIMITS
from mssbench.methods.kernels.variants import VARIANTS, Variant
from mssbench.methods.method import Root
from mssbench.methods.minimax import schedule, taylor


@pytest.mark.sampled(3, slow=3)
@pytest.mark.parametrize("variant", by_size(ITERATE))
def test_both_roots_are_right(
    gpu: Emulation, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At condition 10 and 1e4, by Newton–Schulz and by minimax steps; of any number of rows."""
    only(variant, monkeypatch)
    n, dtype = variant.size, variant.dtype
    sizes = (n, n - 3, 1) if n <= SMALL else (n - 3,)
    for rows in sizes:
        for condition, limit in LIMIT.items():
            a = spd(variant.per_block + 1 if rows <= SMALL else 2, rows, condition, dtype)
            y, z = truth(a)
            for factors in (factors_of(variant), planned(dtype, rows, condition)):
                root = fused.iterate(a, factors, "min_ws_minc", BOTH)
                assert error(root.sqrt, y) < limit[dtype], (rows, condition)
                assert error(root.isqrt, z) < 10 * limit[dtype]
                for x in (root.sqrt, root.isqrt):
                    assert (x == x.transpose(0, 2, 1)).all()


@pytest.mark.sampled(1, slow=0)
@pytest.mark.parametrize("family", ["iterate", "lyapunov", "jacobi", "loewner"])
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=pytest.mark.slow)])
def test_no_order_of_the_threads_changes_a_bit(gpu: Emulation, family: str, dtype: str) -> None:
    a = spd(3, 13, 100.0, dtype)
    first = everything(family, a)
    for order in (1, 2, 3):
        gpu.order = order
        assert everything(family, a) == first


@pytest.mark.sampled(4, slow=4)
@pytest.mark.parametrize(
    ("family", "name"), [(f, name) for f, names in BARRIERS.items() for name in names]
)
def test_no_barrier_is_one_too_many(gpu: Emulation, family: str, name: str) -> None:
    assert missed(gpu, name, lambda: everything(family, spd(9, 13, 1e3, "float32")))


def test_every_barrier_of_the_source_is_tried() -> None:
    import re

    from mssbench.methods.kernels.source import source

    for family, names in BARRIERS.items():
        variant = next(v for v in VARIANTS if v.family == family)
        found = set(re.findall(r"MSS_BARRIER\((\w+)\);", source(variant)))
        mine = {n for n in found if n in names}
        assert mine == set(names)
    everywhere = {n for names in BARRIERS.values() for n in names}
    assert {
        n for v in VARIANTS for n in re.findall(r"MSS_BARRIER\((\w+)\);", source(v))
    } == everywhere


@pytest.mark.sampled(slow=1)
@pytest.mark.slow
@pytest.mark.parametrize(
    "family",
    [
        pytest.param("iterate", marks=pytest.mark.slow),  # compilers take long to instrument it
        pytest.param("lyapunov", marks=pytest.mark.slow),
        pytest.param("jacobi", marks=pytest.mark.slow),
        "loewner",
    ],
)
def test_nothing_that_c_leaves_undefined(gpu: Emulation, family: str, capfd: Any) -> None:
    """Misaligned vectors above all, which are an abort on a GPU and nothing on a CPU."""
    gpu.flags = ("-fsanitize=undefined",)
    for dtype in ("float32", "float64"):
        everything(family, spd(9, 13, 1e3, dtype))
    assert "runtime error" not in capfd.readouterr().err


@pytest.mark.sampled(3, slow=2)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 5, 8, 13, 32])
def test_the_gradient_solves_its_equation(gpu: Emulation, dtype: str, n: int) -> None:
    a, g = spd(3, n, 1e2, dtype), spd(3, n, 3.0, dtype, seed=2)
    y, z = (x.astype(np.float64) for x in truth(a))
    root = Root(y.astype(dtype), z.astype(dtype))
    made = schedule(0.02, 5, 5, (5,))
    limit = 1e-4 if dtype == "float32" else 1e-12
    for function in ("sqrt", "isqrt"):
        s = fused.lyapunov(root, function, g, made.factors)  # type: ignore[arg-type]
        r = g if function == "sqrt" else -z @ g @ z
        w, v = np.linalg.eigh(y)
        vt = v.transpose(0, 2, 1)
        right = v @ ((vt @ r @ v) / (w[:, :, None] + w[:, None, :])) @ vt
        assert error(s, right) < limit, function
        assert (s == s.transpose(0, 2, 1)).all()


@pytest.mark.sampled(2, slow=0)
@pytest.mark.parametrize(
    "variant", by_size([v for v in VARIANTS if v.family == "lyapunov" and not v.operands], quick=48)
)
def test_every_size_of_the_gradient(
    gpu: Emulation, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(variant, monkeypatch)
    n, dtype = variant.size - 1, variant.dtype
    a, g = spd(1, n, 10.0, dtype), spd(1, n, 3.0, dtype, seed=2)
    y = truth(a)[0].astype(dtype)
    s = fused.lyapunov(Root(y), "sqrt", g, schedule(0.1, 5, 3, (5, 5)).factors).astype(np.float64)
    assert error(y @ s + s @ y, g) < (2e-6 if dtype == "float32" else 4e-15)


@pytest.mark.sampled(slow=1)
@pytest.mark.parametrize("variant", by_size([v for v in VARIANTS if v.family == "jacobi"]))
def test_jacobi_is_exact_at_every_condition(
    gpu: Emulation, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(variant, monkeypatch)
    unit = product_unit(np.zeros((1, 1), variant.dtype))
    wanted = frozenset((*BOTH, "eigen"))
    for n in (variant.size, variant.size - 3, 1) if variant.size <= 16 else (variant.size - 1,):
        for condition in (1.0, 1e4):
            a = spd(2, n, condition, variant.dtype)
            root = fused.jacobi(a, wanted)
            assert root.eigen is not None
            w, v = root.eigen
            eye = np.broadcast_to(np.eye(n), v.shape)
            assert error(v.transpose(0, 2, 1) @ v, eye) < 6 * n**0.5 * unit
            assert error((v * w[:, None]) @ v.transpose(0, 2, 1), a) < 6 * n**0.5 * unit
            y, z = truth(a)
            assert error(root.sqrt, y) < 50 * unit
            assert error(root.isqrt, z) < (50 + 0.5 * condition) * unit
            assert (root.sqrt == root.sqrt.transpose(0, 2, 1)).all()


def test_jacobi_keeps_the_digits_of_small_eigenvalues(gpu: Emulation) -> None:
    """Of a graded matrix, where each rotation counts relative to its own two rows."""
    d = np.logspace(0, -4, 6).astype("float32")
    a = spd(1, 6, 3.0, "float32") * d[:, None] * d
    root = fused.jacobi(a, frozenset((*BOTH, "eigen")))
    assert root.eigen is not None
    w, right = np.sort(root.eigen[0][0]), np.linalg.eigvalsh(a[0].astype(np.float64))
    assert np.abs(w / right - 1).max() < 1e-5


@pytest.mark.sampled(2, slow=2)
@pytest.mark.parametrize(
    "variant", [v for v in VARIANTS if v.family == "loewner"], ids=lambda v: v.name
)
def test_the_gradient_in_the_eigenbasis(
    gpu: Emulation, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mssbench.methods.backward.loewner import loewner

    only(variant, monkeypatch)
    n, dtype = variant.size - 3, variant.dtype
    a, g = spd(2, n, 100.0, dtype), spd(2, n, 3.0, dtype, seed=2)
    w, v = np.linalg.eigh(a.astype(np.float64))
    for function in ("sqrt", "isqrt"):
        right = loewner(Root(eigen=(w, v)), function, g.astype(np.float64))  # type: ignore[arg-type]
        s = fused.loewner((w.astype(dtype), v.astype(dtype)), function, g)  # type: ignore[arg-type]
        assert error(s, right) < (1e-4 if dtype == "float32" else 1e-12)


def test_between_null_directions_the_gradient_is_zero(gpu: Emulation) -> None:
    """As in `loewner`: nothing else there is finite."""
    v = np.linalg.qr(np.random.default_rng(0).standard_normal((1, 6, 6)))[0]
    w = np.array([[0.0, 0.0, 0.0, 0.5, 1.0, 2.0]])
    s = fused.loewner((w, v), "sqrt", spd(1, 6, 3.0, "float64"))
    null = v[:, :, :3]
    assert np.isfinite(s).all()
    assert np.abs(null.transpose(0, 2, 1) @ s @ null).max() < 1e-14


def test_where_no_inverse_root_exists_its_gradient_is_not_finite(gpu: Emulation) -> None:
    v = np.stack([np.eye(6), np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))[0]])
    w = np.array([[1.0] * 6, [0.0, 0.3, 0.4, 0.5, 1.0, 2.0]])
    s = fused.loewner((w, v), "isqrt", spd(2, 6, 3.0, "float64"))
    assert np.isfinite(s[0]).all()
    assert not np.isfinite(s[1]).any()


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("dtype", "limit"), [("float32", 1e-4), ("float64", 1e-12)])
def test_the_gradient_to_features_of_fewer_samples_is_right(
    gpu: Emulation, dtype: str, limit: float
) -> None:
    """The pair cuts the rounding errors of null directions before the kernel divides by them."""
    from mssbench.methods.pair import pair
    from mssbench.problems.reference import features

    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, 24, 9)).astype(dtype)
    g = spd(2, 24, 3.0, dtype, seed=2)
    a = x @ x.transpose(0, 2, 1) / 9
    chosen = pair("sqrt", "jacobi", "loewner_fused")
    s = chosen.gradient(chosen.keep(a), g).astype(float)
    right = features.solve(x.astype(float), g.astype(float), np.finfo(dtype).eps / 2)
    assert error(2 / 9 * s @ x.astype(float), right.gradient) < limit


FAMILIES: dict[str, Any] = {
    "iterate": lambda a: fused.iterate(a, (taylor(3),) * 6, "trace", BOTH).sqrt,
    "jacobi": lambda a: fused.jacobi(a, BOTH).sqrt,
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("poison", [np.nan, np.inf, 0.0, -1.0])
def test_a_bad_matrix_ends_and_disturbs_no_neighbour(
    gpu: Emulation, family: str, poison: float
) -> None:
    a = spd(10, 7, 10.0, "float32")
    right = FAMILIES[family](a)
    spoiled = a.copy()
    spoiled[3] = poison
    found = FAMILIES[family](spoiled)
    others = np.arange(10) != 3
    assert (found[others] == right[others]).all()
    if poison == 0.0:
        assert (found[3] == 0).all()
    elif not np.isfinite(poison):
        assert not np.isfinite(found[3]).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_root_scales_with_its_matrix_to_the_last_bit(gpu: Emulation, family: str) -> None:
    a = spd(2, 9, 100.0, "float32")
    right = FAMILIES[family](a)
    for j in (-20, -3, 5, 25):
        scaled = FAMILIES[family](a * np.float32(4.0**j))
        assert (scaled == right * np.float32(2.0**j)).all(), j


@pytest.mark.parametrize("family", FAMILIES)
def test_a_matrix_of_subnormal_numbers_has_a_root_of_normal_ones(
    gpu: Emulation, family: str
) -> None:
    a = np.eye(3)[None] * 5e-324 * 4.0**4
    assert np.allclose(FAMILIES[family](a), np.eye(3) * 2.0 ** (4 - 537), rtol=1e-2, atol=0)


def test_rank_deficient_roots_are_right(gpu: Emulation) -> None:
    x = np.random.default_rng(0).standard_normal((2, 12, 4)).astype("float32")
    a = x @ x.transpose(0, 2, 1)
    right = truth_of_rank(a)
    assert error(fused.jacobi(a, BOTH).sqrt, right) < 1e-3
    assert (
        error(
            fused.iterate(
                a, schedule(3e-3, 5, 5, (5,)).factors, "min_ws_minc", frozenset(("sqrt",))
            ).sqrt,
            right,
        )
        < 1e-2
    )


def test_what_is_not_wanted_is_not_written_and_shapes_are_kept(gpu: Emulation) -> None:
    a = np.broadcast_to(spd(1, 6, 10.0, "float64"), (2, 3, 6, 6))
    root = fused.iterate(a, (taylor(5),) * 3, "trace", frozenset(("isqrt",)))
    assert root.sqrt is None
    assert root.isqrt.shape == (2, 3, 6, 6)
    transposed = np.asfortranarray(spd(1, 6, 10.0, "float64")[0])
    assert fused.iterate(transposed, (taylor(5),) * 3, "trace", BOTH).sqrt.shape == (6, 6)
    assert gpu.launches[0].blocks == 1
    empty = fused.iterate(np.zeros((0, 6, 6)), (taylor(5),), "trace", BOTH)
    assert empty.sqrt.shape == (0, 6, 6)
    assert len(gpu.launches) == 2


@pytest.mark.slow
def test_on_a_smaller_gpu_the_planner_takes_what_fits(gpu: Emulation) -> None:
    gpu.limits = LIMITS["sm_86"]
    a = spd(1, 60, 10.0, "float32")
    fused.iterate(a, (taylor(3),) * 3, "trace", BOTH)
    assert gpu.launches[-1].variant.shared_bytes <= gpu.limits.shared_per_block
