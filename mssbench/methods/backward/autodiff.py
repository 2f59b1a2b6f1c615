"""Gradient by autograd through the operations of the forward."""

from collections.abc import Callable

from mssbench.arrays import Array, symmetrize
from mssbench.methods.registry import register_backward


@register_backward(
    cite="Griewank & Walther, Evaluating Derivatives, SIAM 2008; torch.autograd",
    products=lambda: 0.0,  # about twice the forward; the cost model adds this, as it knows the pair
    recorded=True,
    libraries=("torch",),
)
def autodiff(forward: Callable[[Array], Array], a: Array) -> Array:
    """Reverse mode: autograd applies the adjoint of every operation that the forward recorded.

    a: (..., n, n). The forward gets (A + Aᵀ) / 2, which equals A bit for bit, so that the gradient
    is symmetric whichever triangle the forward reads. All intermediate matrices stay in memory
    until the backward pass. At equal eigenvalues a recorded decomposition divides by zero.
    """
    return forward(symmetrize(a))
