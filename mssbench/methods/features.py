"""The root of a covariance computed from the features, without forming the covariance.

Let X be n x M features and A = X Xᵀ / M. With fewer samples than dimensions, M < n, A is singular:
its null eigenvalues become rounding errors, and the gradient of its root divides by them. The
smaller matrix K = Xᵀ X / M has the same nonzero eigenvalues. With K = V diag(d²) Vᵀ and
U = X V diag(1 / d) / √M,

    A^{1/2} = U diag(d) Uᵀ,
    dL/dX   = 2 / √M (U (L ∘ H) diag(d) + G U - U H) Vᵀ,   H = Uᵀ G U,   L_ij = 1 / (d_i + d_j),

where all factors are bounded: |L_ij d_j| is at most 1. The first line can also be written as
A^{1/2} = X K^{-1/2} Xᵀ / M, which torch differentiates to every order.

Source: the relation between A and K is the singular value decomposition of X, Golub & Van Loan,
Matrix Computations, 4th ed., 2013, §2.4; the gradient follows from Daleckii & Krein (1965).
"""

from typing import Any

import torch

from mssbench import arrays
from mssbench.arrays import Array, namespace, symmetrize, transpose
from mssbench.errors import InputError
from mssbench.methods import decomposition, differentiable
from mssbench.methods.backward.loewner import loewner
from mssbench.methods.forward.eigh import eigh
from mssbench.methods.input_checks import check_array
from mssbench.methods.method import LAPACK_PRECISIONS
from mssbench.methods.pair import pair, without_autocast

ThinFactors = tuple[Array, Array, Array]  # U, (..., n, M); d, (..., M); V, (..., M, M)


def sqrtm_of_features(x: Array, *, center: bool = False) -> Array:
    """Principal square root of the covariance X Xᵀ / M of each matrix of features X.

    x: (..., n, M), a torch, numpy or cupy array in float32 or float64: M samples of n features.
    center: subtract the mean of the samples first. The covariance is divided by M in either case.

    Returns the root, (..., n, n), with the library, dtype and device of `x`. For M < n it is
    computed from the M x M matrix of inner products, so that the root and its gradient with respect
    to `x` are accurate although the covariance is singular. Changes of `x` that raise its rank have
    no derivative, and the gradient is zero for them. For M >= n it is the root of the covariance by
    the default pair of `sqrtm`. In torch it has derivatives of every order, also in forward mode
    and through torch.func. Second derivatives, forward mode and every transform of torch.func,
    `vmap` included, need linearly independent samples; otherwise their result is NaN.

    Raises InputError (a ValueError) if `x` is not a batch of features in one of these precisions.

    >>> import torch, mssbench
    >>> x = torch.eye(4, 2, dtype=torch.float64)
    >>> mssbench.sqrtm_of_features(x).diagonal()
    tensor([0.7071, 0.7071, 0.0000, 0.0000], dtype=torch.float64)
    """
    _check(x)
    with without_autocast(x):
        if center:
            x = x - namespace(x).mean(x, axis=-1)[..., None]
        if 0 in x.shape:
            return x @ transpose(x)  # an empty batch, or n = 0 or M = 0

        # Scaled so that the squares of x / p neither overflow nor underflow.
        p = _power_of_two(x)
        return p * _of_centred(x / p, center)


def _power_of_two(x: Array) -> Array:
    """Return the largest power of 2 up to the largest |entry|, (..., 1, 1), or 1 if all are 0."""
    xp = namespace(x)
    largest = arrays.amax(abs(arrays.detach(x)), (-2, -1))
    mantissa, _ = xp.frexp(largest)  # in [1/2, 1)
    zero = largest == 0
    return xp.where(zero, 1.0, largest / xp.where(zero, 1.0, 2 * mantissa))


def _of_centred(x: Array, center: bool) -> Array:
    n, samples = x.shape[-2:]
    if samples >= n:
        return _default(x)(x @ transpose(x) / samples)

    if not _is_differentiated(x):
        u, d, _ = _parts(x)
        return _root(u, d)
    if differentiable.is_transformed():
        return _composed(x, center)
    root: Array = _RootOfFeatures.apply(x, center)  # type: ignore[no-untyped-call]
    return root


def _check(x: Array) -> None:
    check_array(x)
    if x.ndim < 2:
        raise InputError(f"expected features (..., n, M), got shape {tuple(x.shape)}.")

    if arrays.dtype_name(x) not in LAPACK_PRECISIONS:
        how = "x.float()" if arrays.library(x) == "torch" else 'x.astype("float32")'
        raise InputError(
            f"expected features in float32 or float64, got {arrays.dtype_name(x)}. "
            f"Convert first, for example {how}."
        )


def _is_differentiated(x: Array) -> bool:
    if arrays.library(x) != "torch":
        return False
    return (x.requires_grad and torch.is_grad_enabled()) or differentiable.is_transformed()


def _default(x: Array) -> Any:
    """Return the default pair of `sqrtm`, which has a backward only if `x` is a torch tensor."""
    return pair("sqrt", eigh.__name__, loewner.__name__ if arrays.library(x) == "torch" else None)


def _parts(x: Array) -> ThinFactors:
    """Return U, d and V for M < n samples; columns of U whose d is a rounding error are zero."""
    xp, samples = namespace(x), x.shape[-1]
    w, v = decomposition.eigh(transpose(x) @ x / samples)
    d = xp.sqrt(decomposition.without_null(w, w[..., -1:]))
    null = d == 0
    inverse = xp.where(null, 0.0, 1 / xp.where(null, 1.0, d)) / samples**0.5
    return x @ (v * inverse[..., None, :]), d, v


def _root(u: Array, d: Array) -> Array:
    return (u * d[..., None, :]) @ transpose(u)


def _gradient(u: Array, d: Array, v: Array, g: Array) -> Array:
    """Return dL/dX, (..., n, M), from the cotangent g of the root, (..., n, n)."""
    g = symmetrize(g)
    gu = g @ u
    h = transpose(u) @ gu
    sums = d[..., :, None] + d[..., None, :]
    # 0 / 0 occurs only between two null directions, whose columns of U are zero.
    share = d[..., None, :] / namespace(d).where(sums == 0, 1.0, sums)
    factor = u @ (h * (share - 1)) + gu
    return (2 / d.shape[-1] ** 0.5) * factor @ transpose(v)


def _composed(x: Array, center: bool) -> Array:
    """Return the root as a product that torch differentiates: X K^{-1/2} Xᵀ / M.

    Centred samples sum to zero, so that K is singular in the direction of all ones. The mean
    eigenvalue is added in that direction; this does not change the root, since X is zero there.
    """
    samples = x.shape[-1]
    k = transpose(x) @ x / samples
    if center:
        k = k + arrays.trace(k).detach() / samples**2
    z = pair("isqrt", eigh.__name__, loewner.__name__)(k)
    return x @ z @ transpose(x) / samples


class _RootOfFeatures(torch.autograd.Function):
    """The root for M < n. Inputs: the features, and whether they are centred. Output: the root."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, center: bool) -> torch.Tensor:
        u, d, v = _parts(x)
        ctx.save_for_backward(x, u, d, v)
        ctx.center = center
        root: torch.Tensor = _root(u, d)
        return root

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, u, d, v = ctx.saved_tensors
        if not torch.is_grad_enabled():
            with without_autocast(g):
                return _gradient(u, d, v, g), None

        # The gradient may be differentiated again, which only the composed form supports.
        with torch.enable_grad(), without_autocast(g):
            y = _composed(x, ctx.center)
            (s,) = torch.autograd.grad(y, x, symmetrize(g), create_graph=True)
        return s, None
