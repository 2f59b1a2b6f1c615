"""The matrix logarithm of positive definite matrices, as log-Euclidean layers use it.

With A = V diag(w) Vᵀ, log A = V diag(log w) Vᵀ and, for the cotangent G,

    dL/dA = V (L ∘ (Vᵀ G V)) Vᵀ,   L_ij = (log w_i - log w_j) / (w_i - w_j),   L_ii = 1 / w_i.

Sources: Arsigny, Fillard, Pennec & Ayache, Log-Euclidean metrics for fast and simple calculus on
diffusion tensors, Magnetic Resonance in Medicine 56 (2006); Daleckii & Krein (1965).
"""

from typing import Any

import torch

from mssbench import arrays
from mssbench.arrays import Array, namespace, symmetrize, transpose
from mssbench.errors import InputError
from mssbench.methods import decomposition, differentiable
from mssbench.methods.input_checks import check_matrix, check_values
from mssbench.methods.pair import without_autocast
from mssbench.methods.whitening import check_decomposable

# Below this value of |w_i - w_j| / (w_i + w_j) the quotient L_ij is computed by atanh, which is
# accurate for nearly equal eigenvalues. Above it the difference of the two logarithms is accurate.
_NEAR = 0.5


def logm(a: Array, *, check: bool = False) -> Array:
    """Principal logarithm of each symmetric positive definite matrix.

    a: (..., n, n), a torch, numpy or cupy array in float32 or float64. Only the lower triangle is
    read.
    check: check the values first, and raise InputError for a matrix that is not finite, not
    symmetric, or singular in its precision.

    Returns log A, (..., n, n), symmetric, with the library, dtype and device of `a`. In torch it
    has first derivatives, also in forward mode and through torch.func; a second derivative raises
    InputError. The gradient is exact where eigenvalues coincide. A singular or indefinite matrix
    has no logarithm: the result for it has infinite or NaN entries, and so has its gradient.

    Raises InputError (a ValueError) if `a` is not a batch of square matrices in one of these
    precisions.

    >>> import torch, mssbench
    >>> mssbench.logm(torch.eye(2))
    tensor([[0., 0.],
            [0., 0.]])
    """
    check_matrix(a)
    check_decomposable(a)
    if check:
        check_values(a, "isqrt")
    with without_autocast(a):
        return logarithm(a)


def logarithm(a: Array) -> Array:
    """Return the logarithm of each matrix, (..., n, n), differentiable once in torch."""
    if arrays.library(a) != "torch":
        return _log(*decomposition.eigh(a))
    if not (a.requires_grad and torch.is_grad_enabled()) and not differentiable.is_transformed():
        return _log(*decomposition.eigh(a))
    log: Array = _Logarithm.apply(a)[0]  # type: ignore[no-untyped-call]
    return log


def _log(w: Array, v: Array) -> Array:
    xp = namespace(w)
    w = xp.where(w < 0, xp.nan, w)
    with arrays.quiet(w):
        return symmetrize((v * xp.log(w)[..., None, :]) @ transpose(v))


def _gradient(w: Array, v: Array, g: Array) -> Array:
    """Return dL/dA, (..., n, n), from the eigenpairs of A and the cotangent g of log A."""
    g = symmetrize(g)
    return symmetrize(v @ (_slopes(w) * (transpose(v) @ g @ v)) @ transpose(v))


def _slopes(w: torch.Tensor) -> torch.Tensor:
    """Return L_ij = (log w_i - log w_j) / (w_i - w_j), (..., n, n), or 1 / w_i if w_i = w_j."""
    w = torch.where(w > 0, w, torch.nan)
    wi, wj = w[..., :, None], w[..., None, :]
    sums, differences = wi + wj, wi - wj
    z = differences / sums

    zero = z == 0
    near = 2 * torch.where(zero, 1.0, torch.atanh(z) / torch.where(zero, 1.0, z)) / sums
    far = (wi.log() - wj.log()) / torch.where(zero, 1.0, differences)
    return torch.where(z.abs() < _NEAR, near, far)


class _Logarithm(torch.autograd.Function):
    """Input: A. Outputs: log A, and the eigenpairs of A, which are not differentiable."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        w, v = decomposition.eigh(a)
        return _log(w, v), w, v

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, w, v = output
        ctx.mark_non_differentiable(w, v)
        ctx.save_for_backward(*inputs, w, v)
        ctx.save_for_forward(w, v)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor, *_: Any) -> torch.Tensor:
        a, w, v = ctx.saved_tensors
        with without_autocast(g):
            s: torch.Tensor = _Gradient.apply(a, w, v, g)  # type: ignore[no-untyped-call]
        return s

    @staticmethod
    def jvp(ctx: Any, da: torch.Tensor) -> Any:
        w, v = ctx.saved_tensors
        return _gradient(w, v, da), None, None  # the derivative is a self-adjoint linear map


class _Gradient(torch.autograd.Function):
    """Inputs: A, its eigenpairs and the cotangent. Output: dL/dA, which has no derivative itself.

    A is among the inputs so that torch raises an error if a second derivative is asked for.
    Otherwise torch would return zero.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: torch.Tensor, w: torch.Tensor, v: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        del a
        s: torch.Tensor = _gradient(w, v, g)
        return s

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        del ctx, inputs, output

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> Any:
        del ctx, g
        raise InputError(
            "logm has first derivatives alone. For second derivatives compute the logarithm with "
            "torch.linalg.eigh, which is differentiable if no two eigenvalues are equal."
        )
