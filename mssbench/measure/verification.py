"""The reference roots and gradients of some matrices of a batch, and the comparison with them.

Each reference has an estimate of its own error.
"""

from dataclasses import dataclass
from functools import cached_property, reduce
from math import isfinite
from typing import Any

import numpy as np
import torch

from mssbench import arrays
from mssbench.arrays import Array, namespace
from mssbench.errors import Unsupported
from mssbench.measure.inputs import Restore, as_it_is
from mssbench.methods.method import Function
from mssbench.methods.regularization import NONE, Regularization
from mssbench.problems.reference import features as of_features
from mssbench.problems.reference import pseudo, singular, solve
from mssbench.problems.reference.solve import EPS, Reference
from mssbench.problems.vectors import cotangent, vectors
from mssbench.records.cell import APPLIED, LOGARITHM, OF_FEATURES, WHITENING
from mssbench.records.measurement import Status
from mssbench.records.roundoff import STORED

# Matrices compared per batch, by size: enough to catch what depends on the index, few enough that
# the reference of a large matrix does not outlast the measurement. The worst conditioned is in.
CHECKED = ((32, 16), (64, 8), (128, 4), (10**9, 2))

_SMALL = 64  # the largest matrices that numpy's BLAS multiplies in one thread


@dataclass(frozen=True)
class Truth:
    """The reference for the checked matrices of a batch, and the comparison of outputs with it."""

    function: str  # sqrt | isqrt | isqrt_b | sqrt_x | whiten | log
    indices: tuple[int, ...]  # m of the batch
    a: np.ndarray  # (m, n, n), cast
    reference: Reference
    # (m, n, n), or (m, n, M) to features; of a singular A without what has no derivative
    gradient: np.ndarray
    gradient_error: float
    null: np.ndarray | None  # (m, n, n), projectors onto null directions; None where A has none
    condition: float  # of the worst of `a`; nan where it is exactly singular
    fingerprint: float  # see `fingerprint`
    g: np.ndarray  # (m, n, n), cotangents
    b: np.ndarray | None = None  # (m, n, 1), of isqrt_b
    # (m, n, n), what A^{-1/2} A A^{-1/2} should be where directions are null; None: the identity
    identity: np.ndarray | None = None
    # (m, M, M), projectors onto what vanishes of the samples, of features alone
    unused: np.ndarray | None = None

    def root_errors(
        self, y: Array, pick: Restore = as_it_is, *, brief: bool = False
    ) -> dict[str, Any]:
        """Error columns of a root (b, n, n) on whatever device; pick: where its matrices are.

        brief: only those that its status is decided by.
        """
        picked = arrays.to_numpy(pick(y, self.indices))
        exact, error = self._exact
        with np.errstate(all="ignore"):
            if self.function == WHITENING:  # many W whiten: what they make of A is compared
                picked = product(picked, self.a, picked.swapaxes(1, 2))
            wrong = picked - exact
            judged = {
                "root_error": _worst_ratio(frobenius(wrong), self._exact_norms),
                "nonfinite": count_nonfinite(y),
            }
            if brief:
                return judged
            return judged | {
                "root_mae": mean_entry(wrong),
                "residual": self._residual(picked),
                "asymmetry": self._asymmetry(picked),
                "tail_weight": self._tail_weight(picked),
                "reference_error": error,
                "condition": self.condition,
                "checked": len(self.indices),
                "fingerprint": self.fingerprint,
            }

    def gradient_errors(self, s: Array, pick: Restore = as_it_is) -> dict[str, Any]:
        """Error columns of a gradient (b, n, n); they take the place of the root's where shared."""
        picked = arrays.to_numpy(pick(s, self.indices))
        with np.errstate(all="ignore"):
            amplification = float((frobenius(picked) / self._cotangent_norms).max())
            if self.null is not None:
                right = self.null if self.unused is None else self.unused
                picked = picked - product(self.null, picked, right)
            wrong = frobenius(picked - self.gradient)
        return {
            "gradient_error": _worst_ratio(wrong, self._gradient_norms),
            "amplification": amplification,
            "gradient_nonfinite": count_nonfinite(s),
            "reference_error": self.gradient_error,
        }

    def judge(self, phase: str, values: dict[str, Any], max_error: float) -> tuple[Status, str]:
        """The status these errors deserve, and why. Takes `gradient_nonfinite` out of `values`.

        What the reference itself does not know of a root or of a gradient raises the limit of that
        one alone.
        """
        gradient_nonfinite = values.pop("gradient_nonfinite", 0)
        found = [("root", values["nonfinite"], values["root_error"])]
        if phase != "forward":
            found.append(("gradient", gradient_nonfinite, values["gradient_error"]))
            values["nonfinite"] = max(values["nonfinite"], gradient_nonfinite)
        for name, nonfinite, _ in found:
            if nonfinite:
                return Status.NONFINITE, f"{nonfinite} matrices of the {name} have a nan or inf"

        doubts = self._doubts(phase)
        for limit, status in ((1.0, Status.DIVERGED), (max_error, Status.INACCURATE)):
            for name, _, error in found:
                if not error <= limit + doubts[name]:
                    text = f"{name} error {error:.2g} exceeds {limit:g}"
                    return status, text
        if phase != "forward" and self.null is not None:
            return Status.OK, "A is singular: compared without the block between null directions"
        return Status.OK, ""

    def can_judge(self, phase: str, max_error: float) -> bool:
        """Whether the reference is known to within the limit that methods are held to.

        Where it is not, an error says too little for one method to be ranked above another.
        """
        return max(self._doubts(phase).values()) <= max_error

    def _doubts(self, phase: str) -> dict[str, float]:
        """How far the reference may be off in each of what a phase computes, relative."""
        root = {"root": self._exact[1]}
        return root if phase == "forward" else root | {"gradient": self.gradient_error}

    @cached_property
    def _exact(self) -> tuple[np.ndarray, float]:
        """What is right, (m, n, n) or (m, n, 1), and how far that may be off, relative."""
        if self.function in ("sqrt", OF_FEATURES):
            return self.reference.sqrt, self.reference.error_sqrt
        z, error = self.reference.isqrt, self.reference.error_isqrt
        assert z is not None
        assert error is not None
        if self.b is None:
            return z, error
        x = z @ self.b
        norms = [frobenius(y) for y in (z, self.b, x)]
        return x, float((error * norms[0] * norms[1] / norms[2]).max())

    # Each of those below is needed in every verification, and is the same in all of them.

    @cached_property
    def _exact_norms(self) -> np.ndarray:
        return frobenius(self._exact[0])

    @cached_property
    def _gradient_norms(self) -> np.ndarray:
        return frobenius(self.gradient)

    @cached_property
    def _input_norms(self) -> np.ndarray:
        return frobenius(self.a)

    @cached_property
    def _cotangent_norms(self) -> np.ndarray:
        return frobenius(self.g)

    @cached_property
    def tails(self) -> np.ndarray:
        """(m, n, n): projectors onto the smaller half of the eigenvalues that are not null."""
        n = self.a.shape[-1]
        w, v = np.linalg.eigh(self.a)  # ascending
        null = np.count_nonzero(w <= n * EPS * w[:, -1:], axis=1)
        if self.null is not None:  # in the precision of the cell there may be more of them
            ranks = np.rint(np.trace(self.null, axis1=1, axis2=2)).astype(int)
            null = np.maximum(null, ranks)
        first, place = null[:, None], np.arange(n)
        tail = (place >= first) & (place < first + (n - first) // 2)
        return product(v * tail[:, None, :], v.swapaxes(-1, -2))

    @cached_property
    def _tail_shares(self) -> np.ndarray:
        return _shares(self.tails, self._exact[0])

    def _tail_weight(self, picked: np.ndarray) -> float:
        """The share of the smaller eigenvalues in a root, relative to that in the exact root.

        The share is the trace between those directions divided by the whole trace. Of a batch, the
        one farthest from 1, which is right. NaN for a vector and for another function than a root,
        and where the exact root has none.
        """
        if self.b is not None or self.function in (WHITENING, LOGARITHM):
            return float("nan")
        weights = _shares(self.tails, picked) / self._tail_shares
        return float(weights[np.argmax(np.abs(weights - 1))])

    def _asymmetry(self, picked: np.ndarray) -> float:
        if self.b is not None or self.function == WHITENING:
            return float("nan")  # a vector has none, and W need not be symmetric
        return relative(picked - picked.swapaxes(-1, -2), picked)

    def _residual(self, picked: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            if self.function in ("sqrt", OF_FEATURES):
                return _worst_ratio(frobenius(product(picked, picked) - self.a), self._input_norms)
            if self.b is not None:  # xᵀ A x = bᵀ b
                square = self.b.swapaxes(1, 2) @ self.b
                return relative(product(picked.swapaxes(1, 2), self.a, picked) - square, square)
            if self.function == WHITENING:  # picked is W A Wᵀ already
                return _worst_ratio(frobenius(picked - self._exact[0]), self._exact_norms)
            if self.function == LOGARITHM:
                return _worst_ratio(frobenius(_exponential(picked) - self.a), self._input_norms)
            eye = self.identity
            if eye is None:
                eye = np.broadcast_to(np.eye(self.a.shape[-1]), self.a.shape)
            return relative(product(picked, self.a, picked) - eye, eye)


def truth_of(
    function: str,
    a: np.ndarray,
    g: np.ndarray,
    precision: str,
    fingerprint: float,
    regular: Regularization = NONE,
) -> Truth:
    """The truth about a batch: roots and gradients of some of its matrices.

    a, g: (b, n, n), matrices and cotangents, cast to the precision and stored in float64; of
    sqrt_x, a are features, (b, n, M).
    fingerprint: of the input before it was cast, see `fingerprint`.
    regular: the ridge or tolerance under which the root is taken.
    Raises Unsupported for an inverse root that does not exist, and for a tolerance at which
    rounding decides whether an eigenvalue counts.
    """
    count = next(most for largest, most in CHECKED if g.shape[-1] <= largest)
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
    """The truth where eigenvalues up to a tolerance are null: see `pseudo`."""
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
    """The truth of roots of covariances as functions of the features, see `of_features`."""
    if regular != NONE:
        raise Unsupported("ridge and rtol are measured of the matrices themselves, not of sqrt_x")
    covariances = x @ x.swapaxes(1, 2) / x.shape[-1]
    indices = tuple(int(i) for i in solve.worst(covariances, min(count, len(x))))
    exact = of_features.solve(x[list(indices)], g[list(indices)], STORED[precision])
    w = np.linalg.eigvalsh(exact.a).astype(np.float64)
    singular_ones = np.array([each.any() for each in exact.outside])
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
    """A + ridge (tr A / n) I: (m, n, n). The map is its own adjoint, and so takes gradients back.

    It is written once more than in the methods, which are judged by it.
    """
    n = a.shape[-1]
    lifted: np.ndarray = a + ridge / n * np.trace(a, axis1=1, axis2=2)[:, None, None] * np.eye(n)
    return lifted


def _vector(function: str, g: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """The vectors b of isqrt_b, or None, and the cotangent of the root itself."""
    if function != APPLIED:
        return None, g
    b, h = vectors(g)
    return b, cotangent(b, h)


def fingerprint(a: np.ndarray, g: np.ndarray) -> float:
    """A number that tells one input from another, and not one machine's rounding from another's.

    a, g: (b, n, n). The first and the last matrix of each, weighed by a wave over their entries.
    """
    total = 0.0
    for x in (a[[0, -1]], g[[0, -1]]):
        wave = np.cos(np.arange(x.size, dtype=np.float64)).reshape(x.shape)
        total += float((x * wave).sum() / np.linalg.norm(x))
    return total


def _gradient(
    exact: Reference, function: Function, a: np.ndarray, g: np.ndarray, precision: str
) -> tuple[np.ndarray, float, np.ndarray | None]:
    """Gradient, its error, and the null directions where it is not compared."""
    lost = exact.singular
    if not lost.any():
        return *solve.gradient(exact, function, g), None
    partial = singular.gradient(a[lost], g[lost], STORED[precision])
    s, null, error = np.zeros_like(a), np.zeros_like(a), partial.error
    s[lost], null[lost] = partial.gradient, partial.null
    if not lost.all():
        s[~lost], other = solve.gradient(solve.solve(a[~lost]), function, g[~lost])
        error = max(error, other)
    return s, error, null


def product(*factors: np.ndarray) -> np.ndarray:
    """The product of batches of matrices in float64, large ones computed by torch.

    The threads of torch wait actively for some time after a method's last operation. Those of
    numpy's own BLAS would compete with them for the cores: it took five times as long at n = 256.
    """
    if factors[0].shape[-1] <= _SMALL:
        return reduce(np.matmul, factors)
    return reduce(torch.matmul, [torch.from_numpy(x) for x in factors]).numpy()


def _exponential(x: np.ndarray) -> np.ndarray:
    """The exponential of symmetric matrices, (m, n, n); NaN for one that is not finite."""
    finite = np.isfinite(x).all((1, 2), keepdims=True)
    w, v = np.linalg.eigh(np.where(finite, x, 0.0))
    return np.where(finite, product(v * np.exp(w)[:, None, :], v.swapaxes(-1, -2)), np.nan)


def frobenius(x: np.ndarray) -> np.ndarray:
    """The Frobenius norm of each matrix, (m, n, k) -> (m,): twice as fast as numpy's own."""
    norms: np.ndarray = np.sqrt(np.einsum("mij,mij->m", x, x))
    return norms


def relative(difference: np.ndarray, exact: np.ndarray) -> float:
    """Worst relative Frobenius error over a batch; of a zero matrix, 0 if it was met exactly."""
    with np.errstate(all="ignore"):
        return _worst_ratio(frobenius(difference), frobenius(exact))


def _worst_ratio(top: np.ndarray, bottom: np.ndarray) -> float:
    """The largest ratio of two norms, both (m,); 0 / 0 is 0. NaN where one of them is NaN."""
    with np.errstate(all="ignore"):
        ratio = np.where(bottom == 0, np.where(top == 0, 0.0, top * np.inf), top / bottom)
    return float(ratio.max())


def _shares(projectors: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(m,): the share of the trace of each y that lies in the range of its projector.

    projectors, y: (m, n, n).
    """
    inside = (projectors * y).sum(axis=(-2, -1))  # tr(P Y), as P is symmetric
    return np.asarray(inside / np.trace(y, axis1=-2, axis2=-1))


def mean_entry(difference: np.ndarray) -> float:
    """Mean absolute value of an entry, over a batch of matrices of one size."""
    with np.errstate(all="ignore"):
        return float(np.abs(difference).mean())


def count_nonfinite(x: Array) -> int:
    """How many matrices of a batch hold a nan or inf."""
    if isfinite(
        float(arrays.detach(x).sum())
    ):  # one fast pass; a sum that overflows is looked at again
        return 0
    x = arrays.on_host(x)
    finite = namespace(x).isfinite(x).reshape(x.shape[0], -1)
    return int(x.shape[0] - int(finite.all(-1).sum()))
