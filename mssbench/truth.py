"""What a cell's output is held against: certified roots and gradients of some of its matrices."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mssbench import arrays, problems, reference
from mssbench.arrays import Array, namespace
from mssbench.errors import Unsupported
from mssbench.records import Status
from mssbench.reference import Reference
from mssbench.registry import Function

# Matrices compared per batch, by size: enough to catch what depends on the index, few enough that
# the reference of a large matrix does not outlast the measurement. The worst conditioned is in.
CHECKED = ((32, 16), (64, 8), (128, 4), (10**9, 2))


@dataclass(frozen=True)
class Truth:
    """Certified answers for the checked matrices of one batch, and the judge of a method's own."""

    function: Function
    indices: tuple[int, ...]  # m of the batch
    a: np.ndarray  # (m, n, n), cast
    reference: Reference
    gradient: np.ndarray | None  # (m, n, n); None where no gradient exists
    gradient_error: float

    def root_errors(self, y: Array) -> dict[str, Any]:
        """Error columns of a root (b, n, n) on whatever device."""
        picked = arrays.to_numpy(y[list(self.indices)])
        exact = self.reference.sqrt if self.function == "sqrt" else self.reference.isqrt
        assert exact is not None
        error = self.reference.error_sqrt if self.function == "sqrt" else self.reference.error_isqrt
        return {
            "root_error": relative(picked - exact, exact),
            "residual": self._residual(picked),
            "asymmetry": relative(picked - picked.swapaxes(-1, -2), picked),
            "nonfinite": count_nonfinite(y),
            "reference_error": error,
            "checked": len(self.indices),
        }

    def gradient_errors(self, s: Array) -> dict[str, Any]:
        """Error columns of a gradient (b, n, n); they take the place of the root's where shared."""
        columns: dict[str, Any] = {"gradient_error": None, "gradient_nonfinite": count_nonfinite(s)}
        if self.gradient is not None:
            picked = arrays.to_numpy(s[list(self.indices)])
            columns["gradient_error"] = relative(picked - self.gradient, self.gradient)
            columns["reference_error"] = self.gradient_error
        return columns

    def judge(self, phase: str, values: dict[str, Any], max_error: float) -> tuple[Status, str]:
        """The status these errors deserve, and why. Takes `gradient_nonfinite` out of `values`."""
        gradient_nonfinite = values.pop("gradient_nonfinite", 0)
        found = [("root", values["nonfinite"], values["root_error"])]
        if phase != "forward":
            found.append(("gradient", gradient_nonfinite, values["gradient_error"]))
            values["nonfinite"] = max(values["nonfinite"], gradient_nonfinite)
        for name, nonfinite, _ in found:
            if nonfinite:
                return Status.NONFINITE, f"{nonfinite} matrices of the {name} have a nan or inf"
        for limit, status in ((1.0, Status.DIVERGED), (max_error, Status.INACCURATE)):
            for name, _, error in found:
                if error is not None and error > limit:
                    text = f"{name} error {error:.2g} exceeds {limit:g}"
                    return status, text
        if phase != "forward" and self.gradient is None:
            return Status.OK, "no gradient exists: A is singular, so none is compared"
        return Status.OK, ""

    def _residual(self, picked: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            if self.function == "sqrt":
                return relative(picked @ picked - self.a, self.a)
            eye = np.broadcast_to(np.eye(self.a.shape[-1]), self.a.shape)
            return relative(picked @ self.a @ picked - eye, eye)


@lru_cache(maxsize=8)  # the cells of a suite come in groups that share one
def truth_of(
    function: Function, problem: str, size: int, batch: int, seed: int, precision: str
) -> Truth:
    """The truth about the cast batch of a problem.

    Raises Unsupported for an inverse root that does not exist, and what `problems.make` raises.
    """
    made = problems.make(problem, size, batch, seed)
    a = problems.cast(made.master, precision)
    count = next(most for largest, most in CHECKED if size <= largest)
    indices = tuple(int(i) for i in reference.worst(a, min(count, batch)))
    checked = a[list(indices)]
    exact = reference.solve(checked, want_isqrt=function == "isqrt")
    if function == "isqrt" and exact.isqrt is None:
        raise Unsupported("no inverse root exists: A is singular in this precision")
    gradient, error = None, float("nan")
    if not exact.singular.any():
        g = problems.cast(made.cotangent[list(indices)], precision)
        gradient, error = reference.gradient(exact, function, g)
    return Truth(function, indices, checked, exact, gradient, error)


def relative(difference: np.ndarray, exact: np.ndarray) -> float:
    """Worst relative Frobenius error over a batch; of a zero matrix, 0 if it was met exactly."""
    with np.errstate(all="ignore"):
        top = np.linalg.norm(difference, axis=(-2, -1))
        bottom = np.linalg.norm(exact, axis=(-2, -1))
        ratio = np.where(
            bottom > 0, top / np.where(bottom > 0, bottom, 1), np.where(top > 0, np.inf, 0)
        )
    return float(ratio.max())


def count_nonfinite(x: Array) -> int:
    """How many matrices of a batch hold a nan or inf."""
    xp = namespace(x)
    finite = xp.isfinite(x).reshape(x.shape[0], -1)
    return int(x.shape[0] - int(finite.all(-1).sum()))
