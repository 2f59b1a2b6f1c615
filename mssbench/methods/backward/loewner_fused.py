"""Gradient in the eigenbasis, in one CUDA kernel."""

from mssbench.arrays import Array
from mssbench.methods.kernels import fused as kernels
from mssbench.methods.method import Function, Root
from mssbench.methods.registry import register_backward


@register_backward(
    cite="Higham, Functions of Matrices, SIAM 2008, Theorem 3.11; one block a matrix",
    products=lambda: 4.0,
    reads=("eigen",),
    only=True,
    libraries=("torch", "cupy"),
    precisions=("float64", "float32"),
    symmetrizes=True,
    launches=1,
    devices=("cuda",),
    solves=True,
)
def loewner_fused(root: Root, function: Function, g: Array) -> Array:
    """What `loewner` computes, its four products and the division between in shared memory.

    S = V (L ∘ (Vᵀ sym(G) V)) Vᵀ, L the divided differences of the root. As in `loewner`, the
    eigenvalues of A up to 4 ε times the largest one are 0 before they come here, L is 0 between two
    of them, and where an inverse root does not exist its gradient is not finite.

    g: (..., n, n) on a GPU, n <= 64.
    Raises Unsupported where no kernel serves, and NotInstalled without CuPy.
    """
    assert root.eigen is not None
    return kernels.loewner(root.eigen, function, g)
