"""The gradients of the layers published with the SVD remedies; each remedy adds its factor K.

The layers are those of DifferentiableSVD, the code that Song, Sebe & Wang published on GitHub. They
take A = V diag(w) Vᵀ from torch.svd, raise every eigenvalue below ε to ε, the spacing of the dtype
at 1, and differentiate the eigendecomposition.
With f(w) = √w, its derivative f', the cotangent G of the root, and U = 2 G V diag(f) of V:

    S = V (Kᵀ ∘ (Vᵀ U) + diag(f'(w_i) (VᵀGV)_ii)) Vᵀ,   K_ij in place of 1 / (w_i - w_j), K_ii = 0.

Here ∘ multiplies entry by entry; sym is the symmetric part of a matrix. After each of three stages,
which are K, the matrix in brackets and S, infinite entries are replaced by the largest or smallest
of the other entries. The published layers differ from this package's remedies of the same names
without `_released`:

- ε is absolute. The null eigenvalues of a singular A are all equal to ε, and the gradient does not
  scale with the matrix. The remedies here cut at 4 ε times the largest eigenvalue, and set the root
  of eigenvalues below that to 0.
- K is symmetric between equal eigenvalues, since it divides by +0, and multiplies the rounding
  errors of the gradient between null directions. In the remedies here K is antisymmetric, and
  therefore 0 between equal eigenvalues.
- The largest and smallest entries are those of the whole batch: if eigenvalues are equal, the
  gradient of one matrix depends on the others.

The methods here differ from the layers in the following. The layers compute in float64 on the CPU,
whatever the precision and device of the network; the methods compute in the precision and on the
device of their input. The layers replace infinite entries and NaN once more in the gradient of the
features, which a backward for A does not compute. The layers symmetrise S in the step to the
features; the methods return S symmetrised. For the inverse root, which the layers do not offer, f
is 1/√w.
"""

from collections.abc import Callable
from functools import partial

from mssbench.arrays import Array, diagonal, eye_like, namespace, symmetrize, transpose
from mssbench.methods.decomposition import floored
from mssbench.methods.method import LAPACK_PRECISIONS, Function, Root
from mssbench.methods.registry import register_backward

released = partial(
    register_backward,
    products=lambda **_: 4.0,
    reads=("eigen",),
    only=True,
    precisions=LAPACK_PRECISIONS,
    at_singular="null eigenvalues are equal to ε, and rounding errors between them are amplified",
)


def gradient(root: Root, function: Function, g: Array, k: Callable[[Array, Array], Array]) -> Array:
    """Return S with k(w_i, w_j) in place of 1 / (w_i - w_j), also for equal eigenvalues.

    g: (..., n, n), symmetric; k: (..., n, n), (..., 1, n) -> (..., n, n), whose diagonal is
    ignored.
    """
    w, v = eigenpairs(root)
    vt = transpose(v)
    f, slope = values(function, w)
    gt = vt @ g @ v

    of_vectors = transpose(factors(w, k)) * (2 * gt * f[..., None, :])
    of_values = eye_like(v) * (slope * diagonal(gt))[..., None, :]
    inner = without_infinity(of_vectors + of_values)

    return symmetrize(without_infinity(v @ inner @ vt))


def factors(w: Array, k: Callable[[Array, Array], Array]) -> Array:
    """Return K for eigenvalues w, (..., n) -> (..., n, n): 0 on the diagonal, and finite."""
    eye = eye_like(w)  # (n, n)
    # The diagonal of w_i is doubled, so that K does not divide by zero there.
    wi, wj = w[..., :, None] * (1 + eye), w[..., None, :]
    return without_infinity(namespace(w).where(eye == 1, 0.0, k(wi, wj)))


def eigenpairs(root: Root) -> tuple[Array, Array]:
    """Return (w, V), (..., n) and (..., n, n), with w raised to at least ε."""
    assert root.eigen is not None
    w, v = root.eigen
    return floored(w), v


def values(function: Function, w: Array) -> tuple[Array, Array]:
    """Return f(w), which is √w or 1/√w, and its derivative f'(w), (..., n)."""
    root = namespace(w).sqrt(w)
    return (root, 0.5 / root) if function == "sqrt" else (1 / root, -0.5 / root / w)


def without_infinity(x: Array) -> Array:
    """Replace +∞ by the largest other entry of x, and -∞ by the smallest other entry.

    x: any shape. The largest and the smallest entry are taken over the whole batch, as in the
        published layers.
    """
    xp = namespace(x)
    x = xp.where(x == xp.inf, xp.max(xp.where(x == xp.inf, -xp.inf, x)), x)
    return xp.where(x == -xp.inf, xp.min(xp.where(x == -xp.inf, xp.inf, x)), x)


def larger_and_ratio(wi: Array, wj: Array) -> tuple[Array, Array]:
    """Return ±max(w_i, w_j), with + where w_i >= w_j, and min / max: the arguments of a series.

    wi: (..., n, n); wj: (..., 1, n). For equal eigenvalues both signs are +, so that K is symmetric
    between them.
    """
    xp = namespace(wi)
    return xp.where(wi >= wj, wi, -wj), xp.minimum(wi, wj) / xp.maximum(wi, wj)
