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
    """`loewner` in one CUDA kernel: its four products and the division run in shared memory.

    S = V (L ∘ (Vᵀ sym(G) V)) Vᵀ with the divided differences L of the root and the symmetric part
    sym(G). As in `loewner`, eigenvalues of A up to 4 ε times the largest one have been set to 0
    before, L is 0 between two of them, and the gradient of an inverse root that does not exist is
    not finite.

    g: (..., n, n) on a GPU, n <= 64.
    Raises Unsupported if no kernel fits the batch, and NotInstalled without CuPy.
    """
    assert root.eigen is not None
    return kernels.loewner(root.eigen, function, g)
