"""Functions of the covariance other than its root, by which networks are compared with the root.

    covariance     A itself, without a function
    power          c (A^p - s I), s = 0 or 1: for p = 1/2 and c = 2 twice the root, and with s = 1
                   the first approximation of the logarithm
    logarithm      log A
    log_cholesky   the triangle Lᵀ of A = L Lᵀ with the logarithms of its diagonal

With A = V diag(w) Vᵀ, the gradient of f(A) = V diag(f(w)) Vᵀ for the cotangent G is

    dL/dA = V (D ∘ (Vᵀ G V)) Vᵀ,   D_ij = (f(w_i) - f(w_j)) / (w_i - w_j),   D_ii = f'(w_i).

With m = √(w_i w_j) and h = log(w_i / w_j) / 2, D is m^{p-1} sinh(p h) / sinh(h) for the power, and
h / (m sinh(h)) for the logarithm. Both forms are accurate for equal and for distant eigenvalues.

Sources: Chen, Song, Xu, Wang & Sebe, Understanding matrix function normalizations in covariance
pooling through the lens of Riemannian geometry, ICLR 2025; Daleckii & Krein (1965).
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mssbench.errors import InputError
from mssbench.methods import decomposition
from mssbench.training.pooling import PRECISIONS, check_floor, check_type, covariance

POWER, LOGARITHM, LOG_CHOLESKY = "power", "logarithm", "log_cholesky"


class TransformPooling(nn.Module):
    """Pool features (batch, n, M) to the upper triangle of a function of their covariance.

    transform: a name of `TRANSFORMS`. precision: float32 or float64, in which it is computed.
    floor: a multiple of the mean eigenvalue that is added to each eigenvalue first. parameters: of
    the transform.

    Raises InputError for a parameter that the transform does not take, and for a value of another
    type than its default.
    """

    def __init__(
        self, n: int, transform: str, precision: str | None, floor: float = 0.0, **parameters: Any
    ) -> None:
        super().__init__()
        taken = TRANSFORMS[transform]
        for name, value in parameters.items():
            if name not in taken:
                known = ", ".join([*taken, "floor"])
                raise InputError(f"{transform} has no parameter {name!r}: it takes {known}.")
            check_type(name, value, taken[name])
        check_floor(floor)
        self.transform, self.precision, self.floor = transform, precision, float(floor)
        self.parameters_of_transform = {**taken, **parameters}
        rows, columns = torch.triu_indices(n, n)
        self.register_buffer("triangle", rows * n + columns, persistent=False)
        self.triangle: Tensor

    @property
    def exists_at_zero(self) -> bool:
        """Whether the function exists for a covariance with zero eigenvalues."""
        return self.floor > 0 or self.transform not in (LOGARITHM, LOG_CHOLESKY)

    @property
    def is_symmetric(self) -> bool:
        """Whether the function of the covariance is a symmetric matrix."""
        return self.transform != LOG_CHOLESKY

    def forward(self, features: Tensor) -> Tensor:
        """Return the triangle, (batch, n (n + 1) / 2), from features (batch, n, M)."""
        dtype = PRECISIONS[self.precision] or features.dtype
        return self.of_covariance(covariance(features.to(dtype))).flatten(1)[:, self.triangle]

    def of_covariance(self, a: Tensor) -> Tensor:
        """Return the function of matrices, (batch, n, n)."""
        if self.floor:
            mean = a.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
            a = a + self.floor * mean * torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
        return _FUNCTIONS[self.transform](a, **self.parameters_of_transform)


def _unchanged(a: Tensor) -> Tensor:
    return a


def _power(a: Tensor, *, exponent: float, factor: float, minus_identity: bool) -> Tensor:
    """Return factor (A^exponent - I), or without the I."""
    power: Tensor = _Spectral.apply(a, float(exponent))  # type: ignore[no-untyped-call]
    if minus_identity:
        power = power - torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    return factor * power


def _logarithm(a: Tensor) -> Tensor:
    logarithm: Tensor = _Spectral.apply(a, None)  # type: ignore[no-untyped-call]
    return logarithm


def _log_cholesky(a: Tensor) -> Tensor:
    """Return Lᵀ with the logarithms of its diagonal. Raises torch's error for a singular matrix."""
    upper: Tensor = torch.linalg.cholesky(a).mT
    return upper.triu(1) + torch.diag_embed(upper.diagonal(dim1=-2, dim2=-1).log())


class _Spectral(torch.autograd.Function):
    """A^p, or log A for p = None, with the gradient of the module's docstring.

    Eigenvalues that are rounding errors are zeros. Between two of them the power has no gradient,
    and it is 0. The logarithm of a singular matrix is not finite.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, p: float | None) -> Tensor:
        w, v = decomposition.eigh(a)
        w = decomposition.without_null(w, w[..., -1:])
        ctx.save_for_backward(w, v)
        ctx.p = p
        f = w.log() if p is None else torch.where(w > 0, w**p, 0.0)
        root: Tensor = (v * f[..., None, :]) @ v.mT
        return root

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        w, v = ctx.saved_tensors
        inner = v.mT @ ((g + g.mT) / 2) @ v
        return v @ (_divided_differences(w, ctx.p) * inner) @ v.mT, None


def _divided_differences(w: Tensor, p: float | None) -> Tensor:
    """Return D of the module's docstring, (..., n, n), for eigenvalues w >= 0, (..., n)."""
    one, other = w[..., :, None], w[..., None, :]
    larger, smaller = torch.maximum(one, other), torch.minimum(one, other)
    positive = torch.where(smaller > 0, smaller, 1.0)
    half = torch.where(smaller > 0, torch.log1p((larger - smaller) / positive) / 2, 0.0)
    apart = half > 0
    sinh = torch.where(apart, half, 1.0).sinh()
    mean = (larger * positive).sqrt()

    if p is None:
        differences: Tensor = torch.where(apart, half / sinh, 1.0) / mean
        return differences
    ratio = torch.where(apart, (p * half).sinh() / sinh, p)
    # Against a null eigenvalue the quotient is w^{p-1}.
    against_null = torch.where(larger > 0, torch.where(larger > 0, larger, 1.0) ** (p - 1), 0.0)
    powers: Tensor = torch.where(smaller > 0, mean ** (p - 1) * ratio, against_null)
    return powers


_FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
    "covariance": _unchanged,
    POWER: _power,
    LOGARITHM: _logarithm,
    LOG_CHOLESKY: _log_cholesky,
}
# The parameters of each transform, with their defaults.
TRANSFORMS: Mapping[str, Mapping[str, Any]] = {
    "covariance": {},
    POWER: {"exponent": 0.5, "factor": 1.0, "minus_identity": False},
    LOGARITHM: {},
    LOG_CHOLESKY: {},
}
