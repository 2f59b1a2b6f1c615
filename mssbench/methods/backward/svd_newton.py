"""Gradient of the Newton–Schulz iteration for a root that is computed by decomposition."""

from mssbench.arrays import Array, namespace, transpose
from mssbench.methods.backward.newton_schulz_adjoint import newton_schulz_adjoint
from mssbench.methods.forward.newton_schulz import newton_schulz
from mssbench.methods.method import LAPACK_PRECISIONS, Function, Root, Steps
from mssbench.methods.norms import Norm
from mssbench.methods.registry import register_backward


@register_backward(
    cite="Song, Sebe & Wang, Why Approximate Matrix Square Root Outperforms Accurate SVD in Global "
    "Covariance Pooling?, ICCV 2021 (SVD-Newton)",
    products=lambda iterations, **_: max(9.0 * iterations - 9, 3.0),
    reads=("eigen",),
    only=True,
    precisions=LAPACK_PRECISIONS,
)
def svd_newton(
    root: Root, function: Function, g: Array, *, iterations: Steps = 10, norm: Norm = "trace"
) -> Array:
    """Gradient of k steps of Newton–Schulz for an exact root; equal eigenvalues are no problem.

    A = V diag(w) Vᵀ;  k steps from A / c forward and back, as newton_schulz_adjoint; c is the
    upper bound of A's eigenvalues that `norm` names.

    g: (..., n, n). iterations = k. Its cost in products, for k > 1: 1 for A, 3 k - 4 for the steps
    forward, 6 k - 6 for those back.
    """
    assert root.eigen is not None
    w, v = root.eigen
    # Otherwise the steps would give a finite gradient for an inverse root that does not exist.
    if function == "isqrt":
        w = namespace(w).where(w > 0, w, namespace(w).nan)
    a = (v * w[..., None, :]) @ transpose(v)
    steps = newton_schulz(a, frozenset(["iterates"]), iterations=iterations, norm=norm)
    return newton_schulz_adjoint(steps, function, g)
