"""A^{-1/2} b for one vector b a matrix: the row kind `isqrt_b`, which is not a root.

Sampling and whitening need no more than this, and methods made for it never form the inverse root.
Any other forward multiplies its own by b, so that they can be compared.
"""

from dataclasses import dataclass

from mssbench.arrays import Array
from mssbench.registry import Method
from mssbench.roots import Pair


@dataclass(frozen=True)
class Applied:
    """A pair for the inverse root, and what it makes of a vector."""

    pair: Pair

    @property
    def forward(self) -> Method:
        """The method that computes it."""
        return self.pair.forward

    @property
    def backward(self) -> Method | None:
        """The method of its gradient."""
        return self.pair.backward

    def __call__(self, a: Array, b: Array) -> Array:
        """A^{-1/2} b: (..., n, n), (..., n, 1) -> (..., n, 1), differentiable in `a`."""
        own = self.forward.apply
        if own is not None and (self.backward is None or self.backward.recorded):
            return own(a, b)
        return self.pair(a) @ b
