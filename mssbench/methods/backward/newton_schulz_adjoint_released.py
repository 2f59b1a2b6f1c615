"""Gradient back through the steps of Newton–Schulz, with the products of a published layer.

The layer is that of fast-MPN-COV, the code that Li, Xie, Wang & Gao published on GitHub.
"""

from mssbench.arrays import Array, eye_like, namespace, symmetrize
from mssbench.methods.coupled import replay, where_moved
from mssbench.methods.method import Function, Root
from mssbench.methods.registry import register_backward


@register_backward(
    cite="Li, Xie, Wang & Gao, iSQRT-COV, CVPR 2018, the layer of fast-MPN-COV on GitHub",
    products=lambda: 0.0,  # 10 / 3 of the forward; the cost model adds this, as it knows the pair
    reads=("iterates",),
    only=True,
)
def newton_schulz_adjoint_released(root: Root, function: Function, g: Array) -> Array:
    """The published layer's newton_schulz_adjoint: the same gradient in ten products per step.

    From the last step back, the derivatives of the loss are
    Ȳ, Z̄ <- (Ȳ (3 I - Y Z) - Z Y Ȳ - Z Z̄ Z) / 2, ((3 I - Y Z) Z̄ - Z̄ Z Y - Y Ȳ Y) / 2, and of the
    first step X̄ = (Ȳ (3 I - X) - X Ȳ - Z̄) / 2;  S = X̄ / c + c̄ dc/dA.

    g: (..., n, n). Y Z and Z Y are computed again, and Ȳ and Z̄ separately. This takes 10 k - 12
    products for k > 1 steps, where `newton_schulz_adjoint` takes 6 k - 6 for the same result. The
    timings in papers are those of this layer. It has no inverse root, for which the same steps are
    used here, starting from Z̄ = G.
    """
    root_c, alpha, beta, x, *kept = root.iterates
    eye = eye_like(x)
    # None stands for 0. The factor √c is applied at the end.
    y_bar, z_bar = (g, None) if function == "sqrt" else (None, g)
    g_root = None  # <G, root>
    for y, z, _, moved in reversed(replay(x, *kept)):
        before = y_bar, z_bar
        if z is None:
            y_bar, z_bar = _first_step(y, y_bar, z_bar, 3 * eye), None
        else:
            y_bar, z_bar = _step(y, z, y_bar, z_bar, 3 * eye)

        if g_root is None:
            g_root = _last_root(function, g, (y, z), (y_bar, z_bar))
            if moved is not None:  # matrices that did not take it have the root from before it
                previous = y if function == "sqrt" else eye if z is None else z
                g_root = where_moved(moved, g_root, _dot(g, previous))
        if moved is not None:  # a matrix that did not take the step keeps its adjoints
            y_bar = where_moved(moved, y_bar, before[0])
            z_bar = where_moved(moved, z_bar, before[1])

    if g_root is None:  # no steps: Y = X, Z = I
        g_root = _dot(g, x if function == "sqrt" else eye)

    x_bar = 0 * g if y_bar is None else y_bar
    c_bar = (g_root / 2 if function == "sqrt" else g_root / -2) - _dot(x_bar, x)
    s = symmetrize(x_bar + c_bar * (alpha * eye + beta * x)) / root_c
    return s if function == "sqrt" else s / root_c / root_c


def _step(
    y: Array, z: Array, y_bar: Array | None, z_bar: Array | None, three: Array
) -> tuple[Array, Array]:
    """Return Ȳ and Z̄ before a step from those after it: 10 products, or 6 if one of them is 0."""
    yz, zy = three - y @ z, z @ y
    of_y = 0.0 if y_bar is None else y_bar @ yz - zy @ y_bar
    of_z = 0.0 if z_bar is None else yz @ z_bar - z_bar @ zy
    across_y = 0.0 if z_bar is None else z @ z_bar @ z
    across_z = 0.0 if y_bar is None else y @ y_bar @ y
    return (of_y - across_y) / 2, (of_z - across_z) / 2


def _first_step(x: Array, y_bar: Array | None, z_bar: Array | None, three: Array) -> Array:
    """Return X̄ of X = A / c from the adjoints of the outputs of the first step, X T and T."""
    of_y = 0.0 if y_bar is None else y_bar @ (three - x) - x @ y_bar
    return (of_y - (0.0 if z_bar is None else z_bar)) / 2


def _last_root(
    function: Function,
    g: Array,
    before: tuple[Array, Array | None],
    bars: tuple[Array, Array | None],
) -> Array:
    """Return <G, root> for the root of the last step, without a matrix product.

    The root is (3 Y - Y Z Y) / 2, and Z̄ = -Y G Y / 2, so that <G, Y Z Y> = -2 <Z̄, Z>; likewise with
    Y and Z exchanged for the inverse root. The published layer needs no product either, because its
    forward saves the root. before: Y and Z before the step; bars: Ȳ and Z̄ before the step.
    """
    (y, z), (y_bar, z_bar) = before, bars
    if z is None:  # there is only one step, and its root is (3 X - X²) / 2 or (3 I - X) / 2
        if function == "isqrt":
            return 1.5 * _dot(g, eye_like(y)) + _dot(y_bar, y)
        return 0.75 * _dot(g, y) + _dot(y_bar, y) / 2

    if function == "sqrt":
        assert z_bar is not None
        return 1.5 * _dot(g, y) + _dot(z_bar, z)
    return 1.5 * _dot(g, z) + _dot(y_bar, y)


def _dot(a: Array, b: Array) -> Array:
    """Return the inner product <A, B>, (..., n, n) -> (..., 1, 1)."""
    return namespace(a).sum(a * b, axis=(-2, -1), keepdims=True)
