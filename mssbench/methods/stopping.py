"""The stopping rule of iterations whose number of steps is "auto": each matrix by its residual.

A matrix takes steps until its relative residual is at most 8 ε, where ε is the spacing of its
precision at 1, or until the residual is of the order of rounding and rises. Then it takes one more
step, which squares the error of the smallest eigenvalues; a recorded gradient also converges one
step later than the root. Null directions of a singular matrix never converge, but hardly contribute
to the residual ‖Y² - A‖_F / ‖A‖_F. The iteration ends when all matrices of the batch have stopped,
and after `most` steps at the latest. A matrix that has stopped keeps its values bit for bit.

The host reads a value after every step, so that a call waits for a GPU. It cannot do so inside
torch.func.vmap or while torch.compile traces; the iteration then always takes `most` steps, while
each matrix stops as usual. Inside the capture of a CUDA graph "auto" is an error, because every
replay would silently take `most` steps.
"""

from collections.abc import Callable
from math import ceil, log, sqrt

from mssbench.arrays import (
    Array,
    detach,
    frobenius_norm,
    is_readable,
    library,
    namespace,
    product_unit,
)
from mssbench.errors import Unsupported

# The residual at which a matrix has converged, in units of ε. Residuals of converged roots are 1 to
# 5 in well-conditioned cases. The relative error of an eigenvalue w is then 8 ε ‖A‖ / w, and the
# square of that after the last step.
_REACHED = 8
# In units of ε. A residual below this that grows consists of rounding errors. A growing residual
# above it does not stop the matrix: at condition numbers above about 1e5 in float32 the residual
# may stagnate for some steps while a small eigenvalue still converges.
_ROUNDING = 128
_SPARE = 4  # additional steps for the quadratic convergence at the end


class StoppingState:
    """The state of the stopping rule: which matrices of a batch take another step."""

    def __init__(
        self, a: Array, *, growth: float = 1.5, monotone: bool = False, reads: bool = True
    ) -> None:
        """Start the rule for a batch like `a`, (..., n, n).

        growth: the factor by which a step increases √w of a small eigenvalue w.
        monotone: for an unstable iteration whose residual weighs all eigenvalues alike and falls
        with each step until rounding grows. A step that increases the residual is discarded, and
        the matrix stops before it.
        reads: whether the host may read values. False inside this package's own captures of CUDA
        graphs, which take `most` steps.
        Raises Unsupported inside any other capture of a CUDA graph.
        """
        self._reads = reads and is_readable(a)
        if self._reads and library(a) == "torch" and a.is_cuda:
            _check_not_captured(a)

        self._unit = 2 * product_unit(a)
        self._near = 0.5 if monotone else _ROUNDING * self._unit
        self._monotone = monotone
        self.most = most(a, growth)
        self.steps = 0

        one = namespace(a).ones_like(detach(a)[..., :1, :1])
        self._going, self._last = one > 0, one < 0  # (..., 1, 1) each
        self._residual = one * namespace(a).inf
        # 0: all matrices have stopped; 1: those that continue take their last step; 2: neither
        self._ahead = 2

    @property
    def goes_on(self) -> bool:
        """Whether any matrix takes another step."""
        return self._ahead > 0 and self.steps < self.most

    @property
    def is_last(self) -> bool:
        """Whether every matrix that still takes a step is known to take its last one next.

        The limit `most` does not count, and nothing is known if the host may not read values.
        """
        return self._ahead == 1

    def moved(self, residual: Callable[[], Array]) -> Array:
        """Return which matrices take the step just computed, (..., 1, 1), boolean.

        residual: a function that returns the residuals after the step, (..., 1, 1). It is called
        only if they are needed.
        """
        xp = namespace(self._going)
        self.steps += 1
        if self.is_last:
            self._ahead = 0
            return self._going

        r = detach(residual())
        grown = (self._residual <= self._near) & ~(r < self._residual)
        moved = self._going & (self._last | ~grown | (not self._monotone and r <= self._near))
        self._going = moved & ~self._last & xp.isfinite(r)
        self._last = self._going & ((r <= _REACHED * self._unit) | grown)
        self._residual = xp.where(moved, r, self._residual)

        if self._reads:
            ahead = xp.where(self._last, 1.0, 2.0) * self._going
            self._ahead = largest(ahead)
        return moved


def largest(x: Array) -> int:
    """Return the largest value of `x` as an int; the host waits for it.

    The maximum is read as a scalar, because `x` cannot be converted to NumPy inside torch.func.jvp.
    """
    return int(x.max())


def most(a: Array, growth: float) -> int:
    """Return the largest number of steps for a batch like `a`, whatever its spectrum.

    After these steps an eigenvalue u √n, the size of rounding errors with unit roundoff u, would
    have grown to 1. Newton–Schulz takes at most 20 to 26 steps in float32 at n <= 256, and 45 to 49
    in float64.
    """
    noise = product_unit(a) * sqrt(a.shape[-1])
    return max(ceil(log(1 / min(noise, 0.5)) / (2 * log(growth))), 1) + _SPARE


def residual_of(y: Array, a: Array) -> Array:
    """Return ‖Y² - A‖_F / ‖A‖_F, (..., 1, 1), of matrices (..., n, n), detached from autograd."""
    y, a = detach(y), detach(a)
    norm = frobenius_norm(a)
    return frobenius_norm(y @ y - a) / namespace(a).where(norm > 0, norm, 1.0)


def distance_to_identity(m: Array, eye: Array) -> Array:
    """Return ‖M - I‖_F / √n, (..., 1, 1), detached from autograd."""
    return frobenius_norm(detach(m) - eye) / sqrt(m.shape[-1])


def _check_not_captured(a: Array) -> None:
    if namespace(a).cuda.is_current_stream_capturing():
        raise Unsupported(
            'iterations="auto" reads the residual after every step, which cannot be captured as '
            "a CUDA graph: give a number of iterations, and of backward_iterations"
        )
