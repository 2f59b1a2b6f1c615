"""The options `ridge` and `rtol`, which define roots and gradients for singular matrices.

A covariance of fewer samples than dimensions is singular. It has no inverse root, and its root has
no derivative. Every pair takes two options beside its own parameters, which replace the root by
that of another matrix:

* ridge: the root of A + ridge (tr A / n) I. The identity is scaled by the mean eigenvalue, so that
  the root of a scaled matrix is the scaled root. The derivative includes that of the trace.
* rtol: eigenvalues up to rtol times the largest one are zero, in the root and in its gradient. For
  the inverse root this is the root of the pseudo-inverse, A^{+1/2}. The gradient is that of a
  matrix whose rank does not change, for example of X Xᵀ for features X: it is zero between two null
  directions.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from mssbench import arrays
from mssbench.arrays import Array, namespace, transpose
from mssbench.errors import RegistryError
from mssbench.methods.method import Root, Wanted


class Regularization(NamedTuple):
    """The treatment of small eigenvalues before or during the computation of a root."""

    ridge: float = 0.0  # multiple of the mean eigenvalue that is added to every eigenvalue
    rtol: float | None = None  # eigenvalues up to rtol times the largest one count as zero


NONE = Regularization()  # no change of the matrix
OPTIONS = Regularization._fields


def check(name: str, value: Any) -> float:
    """Return the value of an option as a float. Raises RegistryError if it is out of range."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if name == "ridge" and not (number and value >= 0):
        raise RegistryError(f"ridge = {value!r} is not a number of 0 or more, such as 1e-4.")

    if name == "rtol" and not (number and 0 <= value < 1):
        raise RegistryError(
            f"rtol = {value!r} is not a number from 0 to less than 1, such as 1e-6."
        )
    return float(value)


def split(parameters: Mapping[str, Any]) -> tuple[Regularization, dict[str, Any]]:
    """Split parameters into the checked options `ridge` and `rtol`, and all others."""
    given = {k: check(k, v) for k, v in parameters.items() if k in OPTIONS}
    return Regularization(**given), {k: v for k, v in parameters.items() if k not in OPTIONS}


def given(regular: Regularization) -> dict[str, Any]:
    """Return the options that differ from their defaults, by name."""
    default = NONE._asdict()
    return {k: v for k, v in regular._asdict().items() if v != default[k]}


def ridged(a: Array, ridge: float) -> Array:
    """Return A + ridge (tr A / n) I for each matrix of a: (..., n, n)."""
    entries = arrays.diagonal(a) / a.shape[-1]  # divided before the sum, as the trace may overflow
    mean = namespace(a).sum(entries, axis=-1)[..., None, None]
    return a + ridge * mean * arrays.eye_like(a)


def unridged_gradient(s: Array, ridge: float) -> Array:
    """Return dL/dA from s, the gradient with respect to A + ridge (tr A / n) I: (..., n, n)."""
    return ridged(s, ridge)  # the linear map A -> A + ridge (tr A / n) I is its own adjoint


def root(w: Array, v: Array, rtol: float, wanted: Wanted) -> Root:
    """Return the root in which eigenvalues up to rtol times the largest one are zero.

    w: (..., n), the eigenvalues of A in any order; v: (..., n, n), the eigenvectors.
    The field `eigen` of the result has these eigenvalues set to 0, as `gradient_of_inverse`
    expects.
    """
    xp = namespace(w)
    w = xp.where(w <= rtol * arrays.amax(w, -1), 0.0, w)
    w = xp.where(w < 0, 0.0, w)
    d = xp.sqrt(w)

    vt = transpose(v)
    return Root(
        sqrt=(v * d[..., None, :]) @ vt if "sqrt" in wanted else None,
        isqrt=(v * _inverse(d)[..., None, :]) @ vt if "isqrt" in wanted else None,
        eigen=(w, v),
    )


def gradient_of_inverse(eigen: tuple[Array, Array], g: Array) -> Array:
    """Return dL/dA for L = <G, A^{+1/2}>, for changes of A that keep its rank.

    eigen: w, (..., n), with zeros for null directions, and V, (..., n, n). g: (..., n, n),
    symmetric. With d = √w, the gradient is S = V (L ∘ VᵀGV) Vᵀ, where L_ij is

        -1 / (d_i d_j (d_i + d_j))   between two directions of the range,
        1 / d_i³                     between direction i of the range and a null direction,
        0                            between two null directions.

    That is the divided difference (f(w_i) - f(w_j)) / (w_i - w_j) of f(w) = 1/√w with f(0) = 0
    (Daleckii & Krein 1965; Higham, Functions of Matrices, SIAM 2008, Theorem 3.11).
    """
    w, v = eigen
    xp = namespace(w)
    d = xp.sqrt(w)
    null = w == 0  # (..., n)
    one_is, both_are = (
        null[..., :, None] ^ null[..., None, :],
        null[..., :, None] & null[..., None, :],
    )

    inverse = _inverse(d)
    # One factor 1 / d of each nonzero direction is absorbed into V, because the product of three d
    # overflows float32 from eigenvalues of 1e26 on.
    scaled = v * xp.where(null, 1.0, inverse)[..., None, :]
    between_live = -1 / xp.where(both_are, 1.0, d[..., :, None] + d[..., None, :])
    between_live_and_null = (inverse * inverse)[..., :, None] + (inverse * inverse)[..., None, :]
    factor = xp.where(one_is, between_live_and_null, xp.where(both_are, 0.0, between_live))
    return v @ (factor * (transpose(scaled) @ g @ scaled)) @ transpose(v)


def _inverse(d: Array) -> Array:
    """Return 1 / d, and 0 where d is 0."""
    xp = namespace(d)
    return xp.where(d == 0, 0.0, 1 / xp.where(d == 0, 1.0, d))
