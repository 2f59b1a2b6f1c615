"""Gradient through the forward's own operations."""

from collections.abc import Callable

from mssbench.arrays import Array, symmetrize
from mssbench.methods.registry import register_backward


@register_backward(
    cite="Griewank & Walther, Evaluating Derivatives, SIAM 2008; torch.autograd",
    products=lambda: 0.0,  # about twice the forward, which only the cost model can know
    recorded=True,
    libraries=("torch",),
)
def autodiff(forward: Callable[[Array], Array], a: Array) -> Array:
    """Reverse mode: autograd replays the transpose of every recorded operation.

    a: (..., n, n). The forward sees (A + Aᵀ) / 2, which is A bit for bit, so that the gradient is
    symmetric whichever triangle the forward reads. Keeps every intermediate matrix alive until
    then; at equal eigenvalues a recorded decomposition divides by zero.
    """
    return forward(symmetrize(a))
