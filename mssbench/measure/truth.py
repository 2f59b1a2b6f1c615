"""The reference for some matrices of a batch, and the comparison of outputs with it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.measure.comparisons import (
    count_nonfinite,
    exponential,
    frobenius,
    mean_entry,
    product,
    relative,
    shares,
    worst_ratio,
)
from mssbench.measure.inputs import Restore, as_it_is
from mssbench.problems.reference.solve import EPS, Reference
from mssbench.records.cell import LOGARITHM, OF_FEATURES, WHITENING
from mssbench.records.measurement import Status


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
                "root_error": worst_ratio(frobenius(wrong), self._exact_norms),
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
            "gradient_error": worst_ratio(wrong, self._gradient_norms),
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
        return shares(self.tails, self._exact[0])

    def _tail_weight(self, picked: np.ndarray) -> float:
        """The share of the smaller eigenvalues in a root, relative to that in the exact root.

        The share is the trace between those directions divided by the whole trace. Of a batch, the
        one farthest from 1, which is right. NaN for a vector and for another function than a root,
        and where the exact root has none.
        """
        if self.b is not None or self.function in (WHITENING, LOGARITHM):
            return float("nan")
        weights = shares(self.tails, picked) / self._tail_shares
        return float(weights[np.argmax(np.abs(weights - 1))])

    def _asymmetry(self, picked: np.ndarray) -> float:
        if self.b is not None or self.function == WHITENING:
            return float("nan")  # a vector has none, and W need not be symmetric
        return relative(picked - picked.swapaxes(-1, -2), picked)

    def _residual(self, picked: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            if self.function in ("sqrt", OF_FEATURES):
                return worst_ratio(frobenius(product(picked, picked) - self.a), self._input_norms)
            if self.b is not None:  # xᵀ A x = bᵀ b
                square = self.b.swapaxes(1, 2) @ self.b
                return relative(product(picked.swapaxes(1, 2), self.a, picked) - square, square)
            if self.function == WHITENING:  # picked is W A Wᵀ already
                return worst_ratio(frobenius(picked - self._exact[0]), self._exact_norms)
            if self.function == LOGARITHM:
                return worst_ratio(frobenius(exponential(picked) - self.a), self._input_norms)
            eye = self.identity
            if eye is None:
                eye = np.broadcast_to(np.eye(self.a.shape[-1]), self.a.shape)
            return relative(product(picked, self.a, picked) - eye, eye)
