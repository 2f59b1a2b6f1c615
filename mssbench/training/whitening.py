"""`Whitening`: a layer that makes channels uncorrelated, as batch normalization makes them equal.

In training, each group of channels is centred and multiplied by a whitening matrix W of its
covariance over the batch and all places, W A Wᵀ = I. In evaluation, running means of both are used.

Sources: Huang, Yang, Lang & Deng, Decorrelated batch normalization, CVPR 2018 (ZCA);
Huang, Zhou, Zhu, Liu & Shao, Iterative normalization, CVPR 2019 (IterNorm);
Siarohin, Sangineto & Sebe, Whitening and coloring batch transform for GANs, ICLR 2019 (Cholesky).
"""

from typing import Any

import torch
from torch import Tensor, nn

from mssbench.errors import InputError
from mssbench.methods.pair import without_autocast
from mssbench.methods.sqrtm import isqrtm
from mssbench.methods.whitening import whitening
from mssbench.training.pooling import covariance

CHOLESKY = "cholesky"  # the forward that whitens by a triangular matrix, and not by the root


class Whitening(nn.Module):
    """Whiten the channels of a feature map over the batch.

    features: number of channels. groups: number of groups that are whitened apart; it must divide
        the number of channels.
    forward, backward: the pair that takes A^{-1/2}, by the names of `mssbench list`. With
        "newton_schulz", norm="trace" and iterations=5 this is IterNorm. "eigh" gives ZCA
        whitening, and "cholesky" the inverse Cholesky factor, see `mssbench.whitening`.
    eps: added to the diagonal of the covariance before its root is taken.
    momentum: the weight of a batch in the running mean and in the running whitening matrix.
    affine: whether each channel has a weight and a bias that are learned.
    parameters: those of the pair, as `isqrtm` takes them.

    The input has the shape (batch, features, ...), and so has the output, which has the input's
    dtype. Covariance and root are computed in at least float32, also under autocast.

    Raises InputError (a ValueError) if the groups do not divide the channels, and for an input of
    another shape.

    >>> import torch
    >>> from mssbench.training import Whitening
    >>> layer = Whitening(4, forward="eigh", affine=False)
    >>> y = layer(torch.randn(8, 4, 5, 5, dtype=torch.float64)).transpose(0, 1).flatten(1)
    >>> torch.allclose(y @ y.mT / y.shape[1], torch.eye(4, dtype=torch.float64), atol=1e-3)
    True
    """

    running_mean: Tensor
    running_whitening: Tensor

    def __init__(
        self,
        features: int,
        *,
        groups: int = 1,
        forward: str = "eigh",
        backward: str | None = None,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
        **parameters: Any,
    ) -> None:
        super().__init__()
        if groups < 1 or features % groups:
            raise InputError(f"{groups} groups do not divide {features} channels evenly.")
        self.features, self.groups = features, groups
        self.root, self.backward_of_root = forward, backward
        self.eps, self.momentum = eps, momentum
        self.parameters_of_root = dict(parameters)

        n = features // groups
        self.register_buffer("running_mean", torch.zeros(groups, n, 1))
        self.register_buffer("running_whitening", torch.eye(n).repeat(groups, 1, 1))
        self.weight = nn.Parameter(torch.ones(features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(features)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the whitened features, of the shape and dtype of x: (batch, features, ...)."""
        if x.ndim < 2 or x.shape[1] != self.features:
            raise InputError(
                f"expected features (batch, {self.features}, ...), got shape {tuple(x.shape)}."
            )

        with without_autocast(x):
            grouped = x.transpose(0, 1).reshape(self.groups, self.features // self.groups, -1)
            grouped = grouped.to(torch.promote_types(x.dtype, torch.float32))
            mean, whitener = self._statistics(grouped)
            white = whitener @ (grouped - mean)
            if self.weight is not None and self.bias is not None:
                shape = (self.groups, -1, 1)
                white = white * self.weight.reshape(shape) + self.bias.reshape(shape)

        y = white.reshape(self.features, x.shape[0], *x.shape[2:]).transpose(0, 1)
        return y.to(x.dtype)

    def _statistics(self, grouped: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the whitening matrix of each group, and update the running ones.

        grouped: (groups, n, samples). In evaluation the running ones are returned.
        """
        if not self.training:
            return self.running_mean.to(grouped.dtype), self.running_whitening.to(grouped.dtype)

        mean = grouped.mean(-1, keepdim=True)
        n = grouped.shape[1]
        eye = torch.eye(n, dtype=grouped.dtype, device=grouped.device)
        a = covariance(grouped) + self.eps * eye
        if self.root == CHOLESKY:
            whitener = whitening(a)
        else:
            whitener = isqrtm(
                a, forward=self.root, backward=self.backward_of_root, **self.parameters_of_root
            )

        with torch.no_grad():
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_whitening.lerp_(whitener.to(self.running_whitening.dtype), self.momentum)
        return mean, whitener

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer: the sizes, and how the root is taken."""
        pair = " + ".join(filter(None, [self.root, self.backward_of_root]))
        words = [str(self.features), f"groups={self.groups}", pair]
        words += [f"{name}={value}" for name, value in self.parameters_of_root.items()]
        return ", ".join(words)
