"""Compute the reference answers of whitening and of the matrix logarithm.

Those of roots are computed in verification.py.
"""

from dataclasses import replace

import numpy as np

from mssbench.errors import Unsupported
from mssbench.measure.comparisons import frobenius, product
from mssbench.measure.truth import Truth
from mssbench.measure.verification import CHECKED, truth_of
from mssbench.methods.regularization import Regularization
from mssbench.problems.reference import cholesky, logarithm, solve
from mssbench.problems.reference.double_double import Floats
from mssbench.problems.reference.solve import EPS, Reference
from mssbench.records.cell import LOGARITHM, WHITENING


def other_truth_of(
    function: str,
    a: Floats,
    g: Floats,
    precision: str,
    fingerprint: float,
    regular: Regularization,
    *,
    own: bool,
) -> Truth:
    """Return the reference for some matrices of a batch, like `truth_of` for roots.

    function: `whiten` or `log`.
    a, g, precision, fingerprint, regular: see `truth_of`.
    own: whether the method whitens by an inverse Cholesky factor, whose gradient is not that of
        A^{-1/2}.
    Raises Unsupported if all matrices to be checked are singular: they have no logarithm and no
    whitening.
    """
    if function == WHITENING and not own:
        root = truth_of("isqrt", a, g, precision, fingerprint, regular)
        w = root.reference.isqrt
        assert w is not None
        identity = root.identity if root.identity is not None else _identity(root.a)
        exact = _reference(identity, _rounding(w, root.a), root.a)
        return replace(root, function=WHITENING, reference=exact)

    indices, chosen = _regular(function, a)
    g = g[list(indices)]
    if function == LOGARITHM:
        log = logarithm.solve(chosen, g)
        exact = _reference(log.log, log.error_log, chosen)
        s, error = log.gradient, log.error_gradient
    else:
        factor = cholesky.solve(chosen, g)
        exact = _reference(_identity(chosen), _rounding(factor.w, chosen), chosen)
        s, error = factor.gradient, factor.error

    condition = float(np.linalg.cond(chosen).max())
    return Truth(function, indices, chosen, exact, s, error, None, condition, fingerprint, g)


def _regular(function: str, a: Floats) -> tuple[tuple[int, ...], Floats]:
    """Return indices of the matrices to be checked that are not singular, and these matrices.

    The matrices to be checked include the worst conditioned one.
    """
    count = next(most for largest, most in CHECKED if a.shape[-1] <= largest)
    indices = tuple(int(i) for i in solve.worst(a, min(count, len(a))))
    singular = solve.solve(a[list(indices)], want_isqrt=False).singular
    kept = tuple(i for i, lost in zip(indices, singular, strict=True) if not lost)

    if not kept:
        name = "logarithm" if function == LOGARITHM else "whitening"
        raise Unsupported(f"no {name} exists: A is singular in this precision")

    return kept, a[list(kept)]


def _reference(exact: Floats, error: float, a: Floats) -> Reference:
    """Return a Reference whose roots are the answer `exact`, (m, n, n), with its error."""
    none_is_singular = np.zeros(len(a), dtype=np.bool_)
    w = np.linalg.eigvalsh(a).astype(np.float64)
    return Reference(exact, exact, error, error, w, none_is_singular)


def _identity(a: Floats) -> Floats:
    return np.broadcast_to(np.eye(a.shape[-1]), a.shape)


def _rounding(w: Floats, a: Floats) -> float:
    """Return the relative distance of W A Wᵀ from I that rounding in float64 may cause."""
    n = a.shape[-1]
    sizes = frobenius(product(abs(w), abs(a), abs(w).swapaxes(1, 2)))
    return float((2 * n * EPS * sizes).max() / n**0.5)
