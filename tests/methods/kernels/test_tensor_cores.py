"""The CUDA kernels on tensor cores, run on a CPU: what their operands allow, at every size."""

from typing import Any

import numpy as np
import pytest
import torch
from helpers.emulated import Emulation
from helpers.kernels import (
    BARRIERS,
    BOTH,
    LIMIT,
    by_size,
    error,
    everything,
    missed,
    only,
    planned,
    spd,
    truth,
    truth_of_rank,
)

import mssbench
from mssbench.errors import Unsupported
from mssbench.methods.kernels import fused
from mssbench.methods.kernels.factors import UNIT, of_gradient, of_roots
from mssbench.methods.kernels.planner import LIMITS, plan
from mssbench.methods.kernels.variants import VARIANTS, Variant
from mssbench.methods.method import Root
from mssbench.methods.minimax import taylor

WARPS = [v for v in VARIANTS if v.operands]
# At condition 10, of a root and of a gradient: operands of 11 and 8 bits, and their honest error.
ROUNDED = {"tf32": (1e-3, 2e-3), "bfloat16": (1e-2, 3e-2)}
HALF = 40  # rows: two tiles an edge, so that a warp needs what others write


def given(family: str) -> Any:
    return pytest.mark.parametrize(
        "variant", by_size([v for v in WARPS if v.family == family], quick=32)
    )


@pytest.mark.sampled(1, slow=2)
@given("iterate")
def test_both_roots_are_as_exact_as_their_operands(
    gpu: Emulation, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(variant, monkeypatch)
    n, operands = variant.size - 3, variant.operands
    assert operands
    for condition, limit in LIMIT.items():
        a = spd(variant.per_block + 1 if n < 32 else 1, n, condition, "float32")
        y, z = truth(a)
        factors = planned("float32", n, condition)
        if operands == "tf32x3":  # float32's own limits
            root = fused.iterate(a, factors, "min_ws_minc", BOTH, operands)
            assert error(root.sqrt, y) < limit["float32"]
            assert error(root.isqrt, z) < 10 * limit["float32"]
        elif condition == 10.0:
            factors = of_roots(5, 4, 1, UNIT[operands], n)
            root = fused.iterate(a, factors, "min_ws_minc", BOTH, operands)
            assert ROUNDED[operands][0] / 50 < error(root.sqrt, y) < ROUNDED[operands][0]
            assert error(root.isqrt, z) < ROUNDED[operands][0]
        assert (root.sqrt == root.sqrt.transpose(0, 2, 1)).all()


@pytest.mark.sampled(1, slow=1)
@given("lyapunov")
def test_the_gradient_solves_its_equation(
    gpu: Emulation, variant: Variant, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(variant, monkeypatch)
    n, operands = variant.size - 1, variant.operands
    assert operands
    a, g = spd(1, n, 10.0, "float32"), spd(1, n, 3.0, "float32", seed=2)
    y, z = (x.astype(np.float64) for x in truth(a))
    root = Root(y.astype("float32"), z.astype("float32"))
    limit = 3e-6 if operands == "tf32x3" else ROUNDED[operands][1]
    factors = of_gradient(5, 6, 0, UNIT[operands], n)
    w, v = np.linalg.eigh(y)
    vt = v.transpose(0, 2, 1)
    for function in ("sqrt", "isqrt"):
        s = fused.lyapunov(root, function, g, factors, operands)  # type: ignore[arg-type]
        r = g if function == "sqrt" else -z @ g @ z
        right = v @ ((vt @ r @ v) / (w[:, :, None] + w[:, None, :])) @ vt
        assert error(s, right) < limit, function
        assert (s == s.transpose(0, 2, 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("more", [0, 1], ids=["sm_70", "sm_80"])
def test_it_holds_for_cores_that_cut_off_more(gpu: Emulation, more: int) -> None:
    """Of older architectures; with sums inside of the cores alone, sm_70 would have 1.5e-6."""
    gpu.flags = (f"-DMSS_MORE_BITS={more}",)
    a = spd(1, 61, 10.0, "float32")
    root = fused.iterate(a, planned("float32", 61, 10.0), "min_ws_minc", BOTH, "tf32x3")
    assert error(root.sqrt, truth(a)[0]) < 1e-6


@pytest.mark.sampled(1, slow=0)
@pytest.mark.parametrize("operands", UNIT)
def test_both_operands_are_rounded_and_not_cut_off(gpu: Emulation, operands: Any) -> None:
    """One step: T = 1.5 I - 0.5 A / c,  Y = A / c T, each as its operands round."""
    a = spd(2, 20, 10.0, "float32")
    found = fused.iterate(a, (taylor(3),), "trace", frozenset(("sqrt",)), operands).sqrt
    c = np.trace(a.astype(np.float64), axis1=1, axis2=2)[:, None, None]
    x = (a / c).astype("float32")
    y = operand(x, operands) @ operand((1.5 * np.eye(20) - 0.5 * x).astype("float32"), operands)
    upper = np.triu(y)  # of which the other triangle is the mirror image
    y = upper + np.triu(y, 1).transpose(0, 2, 1)
    assert error(found, y * np.sqrt(c)) < 4e-7


def operand(x: np.ndarray, operands: str) -> np.ndarray:
    """X to the digits that a product sees, in float64."""
    digits = {"tf32x3": 24, "tf32": 11, "bfloat16": 8}[operands]
    mantissa, exponent = np.frexp(x.astype(np.float64))
    return np.asarray(np.ldexp(np.rint(mantissa * 2.0**digits) / 2.0**digits, exponent))


@pytest.mark.slow
@pytest.mark.parametrize(("operands", "limit"), [("tf32", 0.01), ("bfloat16", 0.06)])
def test_a_schedule_is_made_for_what_its_operands_round(
    gpu: Emulation, operands: Any, limit: float
) -> None:
    """Null directions turn negative by rounding; a schedule for float32 would blow them up."""
    x = np.random.default_rng(0).standard_normal((2, 40, 10)).astype("float32")
    a = x @ x.transpose(0, 2, 1)
    factors = of_roots(5, 4, 1, UNIT[operands], 40)
    root = fused.iterate(a, factors, "min_ws_minc", frozenset(("sqrt",)), operands)
    assert error(root.sqrt, truth_of_rank(a)) < limit


@pytest.mark.sampled(slow=1)
@pytest.mark.parametrize("family", ["iterate", "lyapunov"])
@pytest.mark.parametrize(
    "operands",
    [pytest.param(o, marks=[] if o == "tf32x3" else pytest.mark.slow) for o in UNIT],
)
@pytest.mark.slow
def test_no_order_of_the_threads_changes_a_bit(gpu: Emulation, family: str, operands: Any) -> None:
    a = spd(2, HALF, 100.0, "float32")
    first = everything(family, a, operands)
    for order in (1, 2):
        gpu.order = order
        assert everything(family, a, operands) == first


@pytest.mark.sampled(slow=4)
@pytest.mark.parametrize(
    ("family", "name"), [(f, name) for f in ("iterate", "lyapunov") for name in BARRIERS[f]]
)
@pytest.mark.slow
def test_no_barrier_is_one_too_many(gpu: Emulation, family: str, name: str) -> None:
    a = spd(1, HALF, 1e3, "float32")
    assert missed(gpu, name, lambda: everything(family, a, "tf32x3"))


@pytest.mark.sampled(slow=1)
@pytest.mark.parametrize("family", ["iterate", "lyapunov"])
@pytest.mark.slow
def test_nothing_that_c_leaves_undefined(gpu: Emulation, family: str, capfd: Any) -> None:
    gpu.flags = ("-fsanitize=undefined",)
    for operands in UNIT:
        everything(family, spd(1, HALF, 1e2, "float32"), operands)
    assert "runtime error" not in capfd.readouterr().err


@pytest.mark.sampled(3, slow=0)
@pytest.mark.parametrize("poison", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("operands", UNIT)
def test_a_bad_matrix_disturbs_no_neighbour(gpu: Emulation, operands: Any, poison: float) -> None:
    a = spd(5, 20, 10.0, "float32")
    steps = (taylor(3),) * 6
    right = fused.iterate(a, steps, "trace", BOTH, operands).sqrt
    a[3] = poison
    found = fused.iterate(a, steps, "trace", BOTH, operands).sqrt
    others = np.arange(5) != 3
    assert (found[others] == right[others]).all()
    assert (found[3] == 0).all() if poison == 0.0 else not np.isfinite(found[3]).any()


def test_what_they_do_not_serve_is_refused_with_the_reason() -> None:
    usual: dict[str, Any] = {
        "family": "iterate",
        "n": 64,
        "batch": 4,
        "dtype": "float32",
        "limits": LIMITS["sm_90"],
        "operands": "tf32",
    }
    for other, why in (
        ({"n": 129}, "n <= 128: n is 129"),
        ({"dtype": "float64"}, "float32 on tensor cores, not in float64"),
        ({"limits": LIMITS["sm_75"]}, "no tensor cores .*: take the method fused$"),
        ({"family": "lyapunov", "n": 97}, "n <= 96"),
        ({"limits": LIMITS["sm_75"], "family": "lyapunov"}, "take the method lyapunov_fused$"),
        ({"terms": 5}, "tf32 take factors of degree 3 and 5: set degree=5, or operands=tf32x3"),
        ({"terms": 5, "operands": "tf32x3", "n": 100}, "n <= 96"),
    ):
        with pytest.raises(Unsupported, match=why):
            plan(**(usual | other))  # type: ignore[arg-type]
    assert plan(**(usual | {"n": 128})).variant.size == 128


@pytest.mark.slow
def test_the_methods_run_them(gpu: Emulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a user calls them, forward and backward."""
    from mssbench.methods import sqrtm

    monkeypatch.setattr(sqrtm, "check_takes", lambda *_: None)  # it is on a CPU
    a = torch.from_numpy(spd(2, 20, 10.0, "float32")).requires_grad_()
    chosen = {"forward": "fused_tensor_cores", "backward": "lyapunov_tensor_cores"}
    y = mssbench.sqrtm(a, **chosen, backward_operands="tf32x3")  # type: ignore[arg-type]
    y.square().sum().backward()  # = trace(A), whose gradient is I
    assert [launch.variant.name for launch in gpu.launches] == ["f32_n32_tf32x3"] * 2
    assert torch.allclose(a.grad, torch.eye(20).expand(2, 20, 20), atol=1e-4)  # type: ignore[arg-type]
    mssbench.sqrtm(a.detach(), **chosen, operands="bfloat16", iterations=3)  # type: ignore[arg-type]
    assert gpu.launches[-1].variant.operands == "bfloat16"
