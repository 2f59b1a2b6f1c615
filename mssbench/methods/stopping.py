"""When an iteration stops whose number of steps is "auto": each matrix by its own residual.

A matrix takes steps until its relative residual is at most 8 ε, ε the spacing of its precision at
1, or rises and is no more than rounding, and then one more. Null directions of a singular matrix
never converge, but they hardly contribute to the residual ‖Y² - A‖_F / ‖A‖_F. One more step is
taken because it squares the error of the smallest eigenvalues, and because a recorded gradient
converges one step later than the root. The batch goes on until all have stopped, or for `most`
steps. A matrix that has stopped keeps its numbers bit for bit.

The host looks at the batch after every step, so that a call waits for a GPU. It cannot look inside
torch.func.vmap or while torch.compile traces: then all of the `most` steps are taken, and matrices
stop as they do otherwise. In the capture of a CUDA graph it must not look either, which is an
error, for the graph would take `most` steps at every replay without a word.
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

# In units of ε. Residuals of converged roots lie at 1 to 5 in well-conditioned cases. An eigenvalue
# w is then right to 8 ε ‖A‖ / w, and to the square of that after the last step.
_REACHED = 8
# In units of ε. A residual below this that grows is rounding. Above, where the condition number
# exceeds about 1e5 in float32, a residual may rest there for some steps while a small eigenvalue
# still grows, so that nothing is concluded from its growth.
_ROUNDING = 128
_SPARE = 4  # steps at the end, in which all but the smallest eigenvalues converge quadratically


class Stop:
    """Which matrices of a batch go on."""

    def __init__(
        self, a: Array, *, growth: float = 1.5, monotone: bool = False, reads: bool = True
    ) -> None:
        """A batch like `a`, (..., n, n).

        growth: by which factor a step lifts √w of a small eigenvalue w. monotone: the residual
        weighs all eigenvalues alike and falls with each step; the iteration is unstable, so that a
        step which enlarges it is not taken, and the matrix stops before. reads: False inside a
        capture of this package's own, whose steps are `most`. Raises Unsupported inside another
        capture of a CUDA graph.
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
        self._ahead = 2  # 0: all have stopped; 1: those that go on take their last step; 2: neither

    @property
    def goes_on(self) -> bool:
        """Whether any matrix takes another step."""
        return self._ahead > 0 and self.steps < self.most

    @property
    def is_last(self) -> bool:
        """Whether it is known that the next step is the last one for every matrix."""
        return self._ahead == 1

    def moved(self, residual: Callable[[], Array]) -> Array:
        """Which matrices take the step whose outcome has this residual: (..., 1, 1), boolean.

        residual: a function that returns it, (..., 1, 1); it is not called where it is not needed.
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
    """The largest number of `x`, which the host waits for.

    It is read as one number. To become an array of NumPy, `x` would need storage, which
    torch.func.jvp hides.
    """
    return int(x.max())


def most(a: Array, growth: float) -> int:
    """The steps that a batch like `a` takes at most, whatever its spectrum.

    They lift √w by as much as rounding allows: an eigenvalue u √n that is made of rounding alone
    would reach 1 just then; u is the unit roundoff. 20 to 26 steps of Newton–Schulz in float32 at
    n <= 256, 45 to 49 in float64.
    """
    noise = product_unit(a) * sqrt(a.shape[-1])
    return max(ceil(log(1 / min(noise, 0.5)) / (2 * log(growth))), 1) + _SPARE


def residual_of(y: Array, a: Array) -> Array:
    """‖Y² - A‖_F / ‖A‖_F, (..., 1, 1), of matrices (..., n, n); it is not differentiated."""
    y, a = detach(y), detach(a)
    norm = frobenius_norm(a)
    return frobenius_norm(y @ y - a) / namespace(a).where(norm > 0, norm, 1.0)


def distance_to_identity(m: Array, eye: Array) -> Array:
    """‖M - I‖_F / √n, (..., 1, 1); it is not differentiated."""
    return frobenius_norm(detach(m) - eye) / sqrt(m.shape[-1])


def _check_not_captured(a: Array) -> None:
    if namespace(a).cuda.is_current_stream_capturing():
        raise Unsupported(
            'iterations="auto" looks at the residual after every step, which cannot be captured as '
            "a CUDA graph: give a number of iterations, and of backward_iterations"
        )
