"""Compute the reference roots and gradients of some matrices of a batch.

Each reference has an estimate of its own error. `Truth` compares outputs with it.
"""

import numpy as np

from mssbench.errors import Unsupported
from mssbench.measure.truth import Truth
from mssbench.methods.method import Function
from mssbench.methods.regularization import NONE, Regularization
from mssbench.problems.reference import features as of_features
from mssbench.problems.reference import pseudo, singular, solve
from mssbench.problems.reference.solve import Reference
from mssbench.problems.vectors import cotangent, vectors
from mssbench.records.cell import APPLIED, OF_FEATURES
from mssbench.records.roundoff import STORED

# (largest size, number of matrices compared per batch): enough to find errors that depend on the
# index, few enough that the reference of a large matrix takes no longer than the measurement. The
# worst conditioned matrix is always among them.
CHECKED = ((32, 16), (64, 8), (128, 4), (10**9, 2))


def truth_of(
    function: str,
    a: np.ndarray,
    g: np.ndarray,
    precision: str,
    fingerprint: float,
    regular: Regularization = NONE,
) -> Truth:
    """Return the reference roots and gradients for some matrices of a batch.

    a, g: (b, n, n), matrices and cotangents, cast to the precision and stored in float64; for
        sqrt_x, `a` are features, (b, n, M).
    fingerprint: of the input before it was cast, see `fingerprint`.
    regular: the ridge or tolerance of the root.
    Raises Unsupported for an inverse root that does not exist, and for a tolerance at which
    rounding decides whether an eigenvalue counts.
    """
    count = next(number for largest, number in CHECKED if g.shape[-1] <= largest)
    if function == OF_FEATURES:
        return _truth_of_features(a, g, count, precision, fingerprint, regular)

    indices = tuple(int(i) for i in solve.worst(a, min(count, len(a))))
    checked = with_ridge(a[list(indices)], regular.ridge)
    root: Function = "sqrt" if function == "sqrt" else "isqrt"
    if regular.rtol is not None:
        return _truncated(function, indices, checked, g, precision, fingerprint, regular)

    exact = solve.solve(checked, want_isqrt=root == "isqrt")
    if root == "isqrt" and exact.singular.any():
        kept = [i for i, bad in enumerate(exact.singular) if not bad]
        if not kept:
            raise Unsupported("no inverse root exists: A is singular in this precision")
        indices, checked = tuple(indices[i] for i in kept), checked[kept]
        exact = solve.solve(checked)

    b, g = _vector(function, g[list(indices)])
    s, error, null = _gradient(exact, root, checked, g, precision)

    with np.errstate(all="ignore"):
        worst = float(np.linalg.cond(checked).max())
    condition = worst if np.isfinite(worst) else float("nan")
    s = with_ridge(s, regular.ridge)
    return Truth(function, indices, checked, exact, s, error, null, condition, fingerprint, g, b)


def _truncated(
    function: str,
    indices: tuple[int, ...],
    a: np.ndarray,
    g: np.ndarray,
    precision: str,
    fingerprint: float,
    regular: Regularization,
) -> Truth:
    """Return the reference where eigenvalues up to a tolerance count as null, see `pseudo`."""
    assert regular.rtol is not None
    root: Function = "sqrt" if function == "sqrt" else "isqrt"
    b, g = _vector(function, g[list(indices)])
    exact = pseudo.solve(a, g, root, regular.rtol, STORED[precision])

    none_is_singular = np.zeros(len(a), dtype=np.bool_)
    reference = Reference(
        exact.root, exact.root, exact.error, exact.error, np.linalg.eigvalsh(a), none_is_singular
    )
    s = with_ridge(exact.gradient, regular.ridge)

    return Truth(
        function,
        indices,
        exact.a,
        reference,
        s,
        exact.error,
        None,
        exact.condition,
        fingerprint,
        g,
        b,
        exact.identity,
    )


def _truth_of_features(
    x: np.ndarray,
    g: np.ndarray,
    count: int,
    precision: str,
    fingerprint: float,
    regular: Regularization,
) -> Truth:
    """Return the reference where roots of covariances are functions of the features."""
    if regular != NONE:
        raise Unsupported(
            "ridge and rtol apply to functions of the matrices themselves, not to sqrt_x"
        )

    covariances = x @ x.swapaxes(1, 2) / x.shape[-1]
    indices = tuple(int(i) for i in solve.worst(covariances, min(count, len(x))))
    exact = of_features.solve(x[list(indices)], g[list(indices)], STORED[precision])

    w = np.linalg.eigvalsh(exact.a).astype(np.float64)
    singular_ones = np.array([outside.any() for outside in exact.outside])
    with np.errstate(all="ignore"):
        worst = float(np.linalg.cond(exact.a).max())
    condition = float("nan") if singular_ones.any() or not np.isfinite(worst) else worst

    reference = Reference(exact.root, None, exact.error_root, float("nan"), w, singular_ones)
    excluded = bool((exact.unused.any((1, 2)) & singular_ones).any())
    null, unused = (exact.outside, exact.unused) if excluded else (None, None)

    return Truth(
        OF_FEATURES,
        indices,
        exact.a,
        reference,
        exact.gradient,
        exact.error_gradient,
        null,
        condition,
        fingerprint,
        g[list(indices)],
        unused=unused,
    )


def with_ridge(a: np.ndarray, ridge: float) -> np.ndarray:
    """Return A + ridge (tr A / n) I, (m, n, n). The map is self-adjoint, so it also maps gradients.

    It is implemented independently of the methods, which are compared with it.
    """
    n = a.shape[-1]
    lifted: np.ndarray = a + ridge / n * np.trace(a, axis1=1, axis2=2)[:, None, None] * np.eye(n)
    return lifted


def _vector(function: str, g: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Return the vectors b for `isqrt_b`, else None, and the cotangent of the root itself."""
    if function != APPLIED:
        return None, g
    b, h = vectors(g)
    return b, cotangent(b, h)


def fingerprint(a: np.ndarray, g: np.ndarray) -> float:
    """Return a number that distinguishes inputs, but not the rounding of different machines.

    a, g: (b, n, n). The first and the last matrix of each are weighted by a cosine over their
        entries.
    """
    total = 0.0
    for x in (a[[0, -1]], g[[0, -1]]):
        wave = np.cos(np.arange(x.size, dtype=np.float64)).reshape(x.shape)
        total += float((x * wave).sum() / np.linalg.norm(x))
    return total


def _gradient(
    exact: Reference, function: Function, a: np.ndarray, g: np.ndarray, precision: str
) -> tuple[np.ndarray, float, np.ndarray | None]:
    """Return the gradient, its error, and the null directions, between which it is not compared."""
    is_singular = exact.singular
    if not is_singular.any():
        return *solve.gradient(exact, function, g), None

    partial = singular.gradient(a[is_singular], g[is_singular], STORED[precision])
    s, null, error = np.zeros_like(a), np.zeros_like(a), partial.error
    s[is_singular], null[is_singular] = partial.gradient, partial.null
    if not is_singular.all():
        s[~is_singular], other_error = solve.gradient(
            solve.solve(a[~is_singular]), function, g[~is_singular]
        )
        error = max(error, other_error)

    return s, error, null
