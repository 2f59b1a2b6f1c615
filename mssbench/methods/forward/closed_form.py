"""Square root of 2 x 2 and 3 x 3 matrices from their invariants, without eigenvalues."""

from mssbench.arrays import Array, epsilon, eye_like, namespace, trace
from mssbench.methods.method import Root, Wanted
from mssbench.methods.norms import power_of_four
from mssbench.methods.registry import register_forward

# Newton steps for I₁. Over all spectra the relative error is 0.74 at the start, then 2e-3, 1e-8 and
# 5e-16.
_STEPS = 3


@register_forward(
    cite="Hoger & Carlson, Determination of the stretch and rotation in the polar decomposition of "
    "the deformation gradient, Quart. Appl. Math. 42 (1984); Newton for I₁ is this project's",
    products=lambda: 1.0,
    precisions=("float64", "float32", "tf32"),  # differences of products cancel in half precision
    sizes=(2, 3),
)
def closed_form(a: Array, wanted: Wanted) -> Root:
    """Cayley–Hamilton for the root, with invariants computed from those of A, not its spectrum.

    n = 2: e = √det A, t = √(tr A + 2 e);  Y = (A + e I) / t,  Z = ((tr A + e) I - A) / (t e).
    n = 3: I₃ = √det A,  I₂² = m(A) + 2 I₁ I₃,  I₁² = tr A + 2 I₂,  q = I₁ I₂ - I₃;
    Y = I₁ I - q (A + I₂ I)^{-1},  Z = (I + q (I₁ A + I₃ I)^{-1}) / I₁.

    a: (..., n, n), n = 2 or 3; m(A) is the sum of its principal 2 x 2 minors. There is no division
    by differences of eigenvalues, so that root and gradient are accurate for equal eigenvalues. The
    gradient is infinite only at singular matrices.
    """
    p = power_of_four(a)
    root_p = namespace(a).sqrt(p) * (trace(a) > 0)  # 0 for a zero matrix, computed as if it were I
    y, z = (_two if a.shape[-1] == 2 else _three)(a / p, frozenset(wanted))
    return Root(sqrt=None if y is None else y * root_p, isqrt=None if z is None else z / root_p)


def _two(a: Array, wanted: Wanted) -> tuple[Array | None, Array | None]:
    xp, eye = namespace(a), eye_like(a)
    (a11, a12), (_, a22) = _entries(a)
    total = _one_for_zero(a11 + a22)
    e = xp.sqrt((a11 * a22 - a12 * a12).clip(0))
    t = xp.sqrt(total + 2 * e)
    y = (a + e * eye) / t if "sqrt" in wanted else None
    return y, ((total + e) * eye - a) / (t * e) if "isqrt" in wanted else None


def _three(a: Array, wanted: Wanted) -> tuple[Array | None, Array | None]:
    """Return Y and Z for n = 3, with I₁ from Newton's method.

    I₁ is the fixed point of I₁ = √(tr A + 2 √(m(A) + 2 I₁ I₃)), a contraction by
    I₃ / (I₁ I₂) <= 1/9 all of whose terms are positive. The start √(3 tr A) is exact for equal
    eigenvalues.
    """
    xp, eye = namespace(a), eye_like(a)
    (a11, a12, a13), (_, a22, a23), (_, _, a33) = _entries(a)
    total = _one_for_zero(a11 + a22 + a33)
    minors = (a11 * a22 - a12 * a12) + (a11 * a33 - a13 * a13) + (a22 * a33 - a23 * a23)
    minors = xp.maximum(minors, epsilon(a) * total * total)  # at rank 1 they are rounding errors

    s22, s23, s33, _, _ = _eliminated(a)
    i3 = xp.sqrt((a11 * (s22 * s33 - s23 * s23)).clip(0))
    i1 = xp.sqrt(3 * total)
    for _ in range(_STEPS):
        i2 = xp.sqrt(minors + 2 * i1 * i3)
        image = xp.sqrt(total + 2 * i2)
        slope = i3 / (i2 * image)
        i1 = (image - slope * i1) / (1 - slope)

    i2 = xp.sqrt(minors + 2 * i1 * i3)
    q = i1 * i2 - i3
    y = i1 * eye - q * _inverse(a + i2 * eye) if "sqrt" in wanted else None
    return y, (eye + q * _inverse(i1 * a + i3 * eye)) / i1 if "isqrt" in wanted else None


def _eliminated(a: Array) -> tuple[Array, ...]:
    """Return the Schur complement S of a_11 as s22, s23, s33, and the multipliers l2, l3.

    det A = a_11 det S is as accurate as A allows, while the sum of six products for the determinant
    loses digits to the cancellation of terms of size w_max³.
    """
    (a11, a12, a13), (_, a22, a23), (_, _, a33) = _entries(a)
    pivot = _one_for_zero(a11)
    l2, l3 = a12 / pivot, a13 / pivot
    return a22 - l2 * a12, a23 - l2 * a13, a33 - l3 * a13, l2, l3


def _inverse(b: Array) -> Array:
    """Return B^{-1} of positive definite B, (..., 3, 3), by elimination.

    The error is half of that of the formula by cofactors.
    """
    xp = namespace(b)
    s22, s23, s33, l2, l3 = _eliminated(b)
    det = s22 * s33 - s23 * s23

    x22, x23, x33 = s33 / det, -s23 / det, s22 / det
    x12, x13 = -(l2 * x22 + l3 * x23), -(l2 * x23 + l3 * x33)
    x11 = 1 / b[..., :1, :1] - (l2 * x12 + l3 * x13)
    rows = [(x11, x12, x13), (x12, x22, x23), (x13, x23, x33)]
    return xp.concatenate([xp.concatenate(row, -1) for row in rows], -2)


def _entries(a: Array) -> list[list[Array]]:
    """Return the entries a_ij, each (..., 1, 1), as a list of rows."""
    n = range(a.shape[-1])
    return [[a[..., i : i + 1, j : j + 1] for j in n] for i in n]


def _one_for_zero(x: Array) -> Array:
    return namespace(x).where(x > 0, x, 1.0)
