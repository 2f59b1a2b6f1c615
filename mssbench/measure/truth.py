"""The reference answers for some matrices of a batch, and the comparison of outputs with them."""

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
    """The reference answers for the checked matrices, and methods to compare outputs with them.

    NaN and infinite entries are looked for in the whole batch, all else in the checked matrices.
    """

    function: str  # sqrt | isqrt | isqrt_b | sqrt_x | whiten | log
    indices: tuple[int, ...]  # of the m checked matrices in the batch
    a: np.ndarray  # (m, n, n), the checked matrices, rounded to the precision of the cell
    reference: Reference
    # (m, n, n), or (m, n, M) with respect to features; for a singular A without the block between
    # null directions, where the root has no derivative
    gradient: np.ndarray
    gradient_error: float  # relative error estimate of `gradient`
    null: np.ndarray | None  # (m, n, n), projectors onto null directions; None where A has none
    condition: float  # largest condition number of `a`; nan where one is exactly singular
    fingerprint: float  # of the input, see verification.fingerprint
    g: np.ndarray  # (m, n, n), cotangents
    b: np.ndarray | None = None  # (m, n, 1), the vectors of isqrt_b
    # (m, n, n), the exact A^{-1/2} A A^{-1/2} where some directions are null; None: the identity
    identity: np.ndarray | None = None
    # (m, M, M), projectors onto the null space of the features, for sqrt_x alone
    unused: np.ndarray | None = None

    def root_errors(
        self, y: Array, pick: Restore = as_it_is, *, brief: bool = False
    ) -> dict[str, Any]:
        """Return the error columns of a root.

        y: (b, n, n), on any device.
        pick: returns the matrices of `y` with given indices of the original batch.
        brief: return only the columns that decide the status.
        """
        picked = arrays.to_numpy(pick(y, self.indices))
        exact, error = self._exact

        with np.errstate(all="ignore"):
            if self.function == WHITENING:  # W is not unique, so W A Wᵀ is compared
                picked = product(picked, self.a, picked.swapaxes(1, 2))
            difference = picked - exact
            decisive = {
                "root_error": worst_ratio(frobenius(difference), self._exact_norms),
                "nonfinite": count_nonfinite(y),
            }

            if brief:
                return decisive
            return decisive | {
                "root_mae": mean_entry(difference),
                "residual": self._residual(picked),
                "asymmetry": self._asymmetry(picked),
                "tail_weight": self._tail_weight(picked),
                "reference_error": error,
                "condition": self.condition,
                "checked": len(self.indices),
                "fingerprint": self.fingerprint,
            }

    def gradient_errors(
        self, s: Array, pick: Restore = as_it_is, *, brief: bool = False
    ) -> dict[str, Any]:
        """Return the error columns of a gradient (b, n, n).

        `reference_error` is also a column of the root; in a row with a gradient it is this one.

        pick, brief: as for `root_errors`.
        """
        picked = arrays.to_numpy(pick(s, self.indices))

        with np.errstate(all="ignore"):
            compared = picked
            if self.null is not None:
                right = self.null if self.unused is None else self.unused
                compared = picked - product(self.null, picked, right)
            difference = frobenius(compared - self.gradient)

            decisive = {
                "gradient_error": worst_ratio(difference, self._gradient_norms),
                "gradient_nonfinite": count_nonfinite(s),
            }

            if brief:
                return decisive
            return decisive | {
                "amplification": float((frobenius(picked) / self._cotangent_norms).max()),
                "reference_error": self.gradient_error,
            }

    def judge(self, phase: str, values: dict[str, Any], max_error: float) -> tuple[Status, str]:
        """Return the status of a row with these errors, and the reason.

        values: the error columns; `gradient_nonfinite` is removed from them.
        max_error: the limit of a relative error. The limit of the root and that of the gradient are
            each raised by the error of their reference.
        """
        gradient_nonfinite = values.pop("gradient_nonfinite", 0)
        outputs = [("root", values["nonfinite"], values["root_error"])]
        if phase != "forward":
            outputs.append(("gradient", gradient_nonfinite, values["gradient_error"]))
            values["nonfinite"] = max(values["nonfinite"], gradient_nonfinite)

        for name, nonfinite, _ in outputs:
            if nonfinite:
                return Status.NONFINITE, f"{nonfinite} matrices of the {name} have a nan or inf"

        doubts = self._doubts(phase)
        for limit, status in ((1.0, Status.DIVERGED), (max_error, Status.INACCURATE)):
            for name, _, error in outputs:
                if not error <= limit + doubts[name]:
                    text = f"{name} error {error:.2g} exceeds {limit:g}"
                    return status, text

        if phase != "forward" and self.null is not None:
            return Status.OK, "A is singular: compared without the block between null directions"
        return Status.OK, ""

    def can_judge(self, phase: str, max_error: float) -> bool:
        """Whether the reference is accurate enough to tell if an error exceeds `max_error`.

        Its own estimated error, of the root and in other phases than `forward` of the gradient,
        must not exceed this limit. Otherwise no method is ranked above another.
        """
        return max(self._doubts(phase).values()) <= max_error

    def _doubts(self, phase: str) -> dict[str, float]:
        """Return the relative error estimate of the reference for each output of the phase."""
        root = {"root": self._exact[1]}
        return root if phase == "forward" else root | {"gradient": self.gradient_error}

    @cached_property
    def _exact(self) -> tuple[np.ndarray, float]:
        """Return the exact answers, (m, n, n) or (m, n, 1), and their relative error estimate."""
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

    # The following are cached, since every verification needs them and they never change.

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
        """Projectors onto eigenvectors of the smaller half of nonzero eigenvalues, (m, n, n)."""
        n = self.a.shape[-1]
        w, v = np.linalg.eigh(self.a)  # ascending
        null = np.count_nonzero(w <= n * EPS * w[:, -1:], axis=1)
        if self.null is not None:  # more eigenvalues may be null in the precision of the cell
            ranks = np.rint(np.trace(self.null, axis1=1, axis2=2)).astype(int)
            null = np.maximum(null, ranks)

        first, place = null[:, None], np.arange(n)
        tail = (place >= first) & (place < first + (n - first) // 2)
        return product(v * tail[:, None, :], v.swapaxes(-1, -2))

    @cached_property
    def _tail_shares(self) -> np.ndarray:
        return shares(self.tails, self._exact[0])

    def _tail_weight(self, picked: np.ndarray) -> float:
        """Return the share of the smaller eigenvalues in a root, divided by that in the exact root.

        The share is the trace of the root on the range of `tails`, divided by its whole trace. The
        right value is 1; of a batch, the value farthest from 1 is returned. NaN for a vector, for a
        function that is not a root, and where the exact share is 0.
        """
        if self.b is not None or self.function in (WHITENING, LOGARITHM):
            return float("nan")
        weights = shares(self.tails, picked) / self._tail_shares
        return float(weights[np.argmax(np.abs(weights - 1))])

    def _asymmetry(self, picked: np.ndarray) -> float:
        """Return the relative distance of the roots from their transposes."""
        if self.b is not None or self.function == WHITENING:
            return float("nan")  # x is not square, and W need not be symmetric
        return relative(picked - picked.swapaxes(-1, -2), picked)

    def _residual(self, picked: np.ndarray) -> float:
        """Return the relative residual of the equation that defines the function."""
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
