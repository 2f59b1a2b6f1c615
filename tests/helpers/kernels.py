"""Matrices for the kernels, and what is right for them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from helpers.emulated import Emulation
from mssbench.methods.kernels import fused, planner
from mssbench.methods.kernels import variants as catalogue
from mssbench.methods.kernels.factors import of_roots
from mssbench.methods.kernels.variants import VARIANTS, Operands, Variant
from mssbench.methods.method import Root
from mssbench.methods.minimax import Factor, schedule, taylor

PLANNED = planner._planned.__wrapped__


BOTH = frozenset(("sqrt", "isqrt"))


def spd(batch: int, n: int, condition: float, dtype: str, seed: int = 0) -> np.ndarray:
    """Symmetric to the last bit, eigenvalues logarithmic from 1 down."""
    rng = np.random.default_rng([seed, n])
    q, _ = np.linalg.qr(rng.standard_normal((batch, n, n)))
    w = np.logspace(0, -np.log10(condition), n) if n > 1 else np.ones(1)
    a = ((q * w) @ q.transpose(0, 2, 1)).astype(dtype)
    return (a + a.transpose(0, 2, 1)) / 2


def truth(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both roots in extended precision: those of eigh, put right by what they miss.

    Y E + E Y = A - Y² is solved in the eigenbasis, and Z by Newton's 2 Z - Z Y Z. What eigh gives
    is as far off as the kernels are.
    """
    w, v = np.linalg.eigh(a.astype(np.float64))
    d = np.sqrt(w)
    vt = v.transpose(0, 2, 1)
    y, z = ((v * x[:, None] @ vt).astype(np.longdouble) for x in (d, 1 / d))
    v, vt, a = (x.astype(np.longdouble) for x in (v, vt, a))
    for _ in range(2):
        y = y + v @ ((vt @ (a - y @ y) @ v) / (d[:, :, None] + d[:, None, :])) @ vt
    for _ in range(2):
        z = 2 * z - z @ y @ z
    return y, z


def error(x: np.ndarray, right: np.ndarray) -> float:
    """Relative, in the Frobenius norm, of the worst matrix."""
    off, whole = (np.sqrt((m.astype(np.longdouble) ** 2).sum((-2, -1))) for m in (x - right, right))
    return float((off / whole).max())


def only(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the planner no other choice."""
    monkeypatch.setattr(catalogue, "VARIANTS", (variant,))
    monkeypatch.setattr(planner, "_planned", PLANNED)  # nothing is kept


LIMIT = {10.0: {"float32": 5e-7, "float64": 2e-15}, 1e4: {"float32": 2e-5, "float64": 5e-14}}


SMALL = 32  # a larger one takes seconds, so it is tried less often


def by_size(variants: list[Variant], quick: int = SMALL) -> list[Any]:
    """Parameters for all variants; those of larger matrices, or float64 beyond 8, are slow."""
    return [
        pytest.param(v, id=v.name, marks=[] if _is_quick(v, quick) else pytest.mark.slow)
        for v in variants
    ]


def _is_quick(variant: Variant, largest: int) -> bool:
    return variant.size <= (largest if variant.dtype == "float32" else 8)


def everything(family: str, a: np.ndarray, operands: Operands | None = None) -> bytes:
    """All that a family computes of a batch, as bits."""
    g = spd(len(a), a.shape[-1], 5.0, str(a.dtype), seed=1)
    if family == "iterate":
        mixed = (taylor(9), *schedule(0.05, 5, 2, (3,)).factors)
        both = (mixed, (taylor(3),) * 4) if operands in (None, "tf32x3") else (mixed[1:],)
        found = [fused.iterate(a, f, "min_ws_minc", BOTH, operands) for f in both]
        parts = [x for root in found for x in (root.sqrt, root.isqrt)]
    elif family == "jacobi":
        root = fused.jacobi(a, frozenset((*BOTH, "eigen")))
        assert root.eigen is not None
        parts = [root.sqrt, root.isqrt, *root.eigen]
    else:
        y, z = (x.astype(a.dtype) for x in truth(a))
        if family == "lyapunov":
            factors = schedule(0.05, 5, 3, (3,)).factors
            parts = [fused.lyapunov(Root(y, z), f, g, factors, operands) for f in ("sqrt", "isqrt")]
        else:
            w, v = np.linalg.eigh(a)
            parts = [fused.loewner((w, v), f, g) for f in ("sqrt", "isqrt")]
    return b"".join(np.ascontiguousarray(p).tobytes() for p in parts)


BARRIERS = {
    "iterate": (
        "LOADED",
        "BOUND_PARTS",
        "BOUND_QUOTIENTS",
        "SCALED",
        "FACTOR_ARGUMENT",
        "FACTOR_SQUARE",
        "FACTOR_READ",
        "FACTOR",
        "STEP_READ",
        "STEP",
    ),
    "lyapunov": (
        "INVERSE_LOADED",
        "INVERSE_HALF",
        "INVERSE_READ",
        "GRADIENT_LOADED",
        "SQUARE_UNSCALED",
        "GRADIENT_SCALED",
        "SQUARE",
        "SQUARE_READ",
        "POLYNOMIAL",
        "STEP_READ",
        "STEP",
    ),
    "jacobi": ("LOADED", "ROTATIONS", "ROTATED", "VALUES", "SCALED_VECTORS", "WRITTEN"),
    "loewner": ("LOADED", "HALFWAY", "DIVIDED", "BACK", "DONE"),
}


def missed(gpu: Emulation, name: str, compute: Callable[[], bytes]) -> bool:
    """Whether some order of the threads gives another answer without a barrier, or they part."""
    right = compute()
    gpu.without = name
    for order in range(12):
        gpu.order = order
        try:
            if compute() != right:
                return True
        except RuntimeError:
            return True
    return False


ITERATE = [v for v in VARIANTS if v.family == "iterate" and not v.operands]


def factors_of(variant: Variant) -> tuple[Factor, ...]:
    """Newton–Schulz and its relatives of higher degree, converged at condition 1e4."""
    return (taylor(9),) * 9 if variant.buffers > 3 else (taylor(3),) * 12 + (taylor(5),) * 6


def planned(dtype: str, n: int, condition: float) -> tuple[Factor, ...]:
    """The minimax schedule of degree 5 for that condition: at 10 it is the default of `fused`."""
    unit = float(np.finfo(dtype).eps) / 2
    steps = {10.0: 4, 1e4: {"float32": 5, "float64": 6}[dtype]}[condition]
    return of_roots(5, steps, 1, unit, n)


def truth_of_rank(a: np.ndarray) -> np.ndarray:
    w, v = np.linalg.eigh(a.astype(np.float64))
    return np.asarray((v * np.sqrt(w.clip(0))[:, None]) @ v.transpose(0, 2, 1))
