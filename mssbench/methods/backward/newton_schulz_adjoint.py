"""Gradient back through the steps of the coupled Newton–Schulz iteration."""

from mssbench.arrays import Array, eye_like, namespace, symmetrize, transpose
from mssbench.methods.coupled import replay, where_moved
from mssbench.methods.method import Function, Root
from mssbench.methods.registry import register_backward


@register_backward(
    cite="Li, Xie, Wang & Gao, Towards Faster Training of Global Covariance Pooling Networks by "
    "Iterative Matrix Square Root Normalization (iSQRT-COV), CVPR 2018",
    products=lambda: 0.0,  # twice those of the forward, which only the cost model can know
    reads=("iterates",),
    only=True,
)
def newton_schulz_adjoint(root: Root, function: Function, g: Array) -> Array:
    """Adjoint of the iteration: what autodiff gives, converged or not, in six products a step.

    Ȳ, Z̄, ... are the derivatives of the loss; from the last step back to Ȳ of X = A / c:
    T̄ = Yᵀ Ȳ + Z̄ Zᵀ,  W̄ = -T̄ / 2,  Ȳ, Z̄ <- Ȳ Tᵀ + Zᵀ W̄, Tᵀ Z̄ + W̄ Yᵀ;  S = X̄ / c + c̄ dc/dA,
    c̄ = ±<G, root> / (2 c) - <X̄, X> / c, with + for the root and - for its inverse.

    g: (..., n, n). dc/dA is I for the trace, X for the Frobenius norm, 0 for a detached bound.
    Where matrices have stopped by themselves, each goes back through the steps that it took.
    Keeps 3 k - 2 matrices. What the last step left out has no adjoint, nor has the first Z, which
    is I: 6 k - 6 products. The published layer takes 10 k - 12: `newton_schulz_adjoint_released`.
    """
    root_c, alpha, beta, x, *kept = root.iterates
    y_bar, z_bar = (g, None) if function == "sqrt" else (None, g)  # None is 0; √c waits for the end
    g_root = None  # <G, root>
    for y, z, t, moved in reversed(replay(x, *kept)):
        yt, zt, tt = transpose(y), None if z is None else transpose(z), transpose(t)
        t_bar = _sum(_product(yt, y_bar), z_bar if zt is None else _product(z_bar, zt))
        if g_root is None:  # of the last step, for its outputs are Y T and T Z
            g_root = _dot(t_bar, t)
            if moved is not None:  # or what they were before it
                rest = y if function == "sqrt" else eye_like(x) if z is None else z
                g_root = where_moved(moved, g_root, _dot(g, rest))
        w_bar = t_bar / -2
        before = y_bar, z_bar
        y_bar, z_bar = (
            _sum(_product(y_bar, tt), w_bar if zt is None else zt @ w_bar),
            None if zt is None else _sum(_product(tt, z_bar), w_bar @ yt),
        )
        if moved is not None:  # a matrix that had stopped has the adjoint of no step
            y_bar, z_bar = (
                where_moved(moved, y_bar, before[0]),
                where_moved(moved, z_bar, before[1]),
            )
    eye = eye_like(x)
    if g_root is None:  # no step at all: Y = X, Z = I
        g_root = _dot(g, x if function == "sqrt" else eye)
    x_bar = 0 * g if y_bar is None else y_bar
    c_bar = (g_root / 2 if function == "sqrt" else g_root / -2) - _dot(x_bar, x)
    s = symmetrize(x_bar + c_bar * (alpha * eye + beta * x)) / root_c
    return s if function == "sqrt" else s / root_c / root_c


def _product(a: Array | None, b: Array | None) -> Array | None:
    return None if a is None or b is None else a @ b


def _sum(a: Array | None, b: Array | None) -> Array:
    return a if b is None else b if a is None else a + b


def _dot(a: Array, b: Array) -> Array:
    """<A, B>, (..., n, n) -> (..., 1, 1)."""
    return namespace(a).sum(a * b, axis=(-2, -1), keepdims=True)
