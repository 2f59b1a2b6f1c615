"""`CovariancePooling`: the square root of the covariance of a feature map, as a layer.

A feature map of c channels at M places is reduced to n channels. Its n x n covariance over the
places takes the part that the mean plays in average pooling, and the square root of the covariance
makes it work well in training.

Source: Li, Xie, Wang & Gao, Towards faster training of global covariance pooling networks by
iterative matrix square root normalization, CVPR 2018 (iSQRT-COV).
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mssbench.errors import InputError, unknown
from mssbench.methods.auto import DEFAULT
from mssbench.methods.features import sqrtm_of_features
from mssbench.methods.pair import without_autocast
from mssbench.methods.sqrtm import sqrtm

AUTO, FEATURES = "auto", "features"  # forwards that may take the root from the features
PRECISIONS = {None: None, "float32": torch.float32, "float64": torch.float64}
VECTORIZE = ("triu", "full", None)
_NO_ONNX = (
    "the root of a matrix cannot be exported to ONNX, which has neither an eigendecomposition nor "
    "frexp, by which iterations scale a matrix exactly. Export with torch.export instead, which "
    "keeps the root as one operator of mssbench."
)


class CovariancePooling(nn.Module):
    """Pool a feature map to the square root of its covariance.

    The layer is a 1 x 1 convolution without bias, batch normalization and ReLU, which reduce the
    channels; then the covariance over the places of each map, divided by their number; its square
    root; and the entries of the upper triangle as a vector. Off-diagonal entries are not scaled.

    in_channels: channels of the feature map. channels: n, the size of the covariance; None leaves
        out convolution, batch normalization and ReLU, so that n is in_channels.
    forward, backward: the pair that takes the root, by the names of `mssbench list`. With "auto",
        the root is taken from the features if there are fewer places than channels, since the
        covariance is singular then (see `sqrtm_of_features`), and otherwise from the covariance,
        by the pair that `sqrtm(forward="auto")` chooses.
        With "features" the second case takes the default pair of `sqrtm` instead. Any other forward
        is given the covariance, as it is named.
    precision: "float32" or "float64", in which covariance and root are computed; by default the
        precision of the input, but at least float32, also under autocast. The result has it too.
    center: subtract the mean of each channel, so that the matrix is a covariance. Without it, it is
        the matrix of second moments.
    floor: a multiple of the mean eigenvalue that is added to each eigenvalue before the root is
        taken, as `ridge` of `sqrtm` is.
    vectorize: "triu" for the upper triangle with the diagonal, n (n + 1) / 2 entries in rows;
        "full" for all entries; None for the n x n matrix itself.
    parameters: those of the pair, as `sqrtm` takes them, such as iterations=5, norm="trace".

    The input has the shape (batch, in_channels, height, width), or (batch, in_channels, places).
    The output has the shape (batch, out_features), or (batch, n, n).

    Raises InputError (a ValueError) for an option that does not exist, when the layer is made, and
    for an input of another shape or for parameters that the pair does not take, when it is called.

    >>> import torch
    >>> from mssbench.training import CovariancePooling
    >>> pool = CovariancePooling(16, 8, forward="newton_schulz", norm="trace", iterations=5)
    >>> pool(torch.randn(4, 16, 6, 6)).shape
    torch.Size([4, 36])
    """

    triangle: Tensor

    def __init__(
        self,
        in_channels: int,
        channels: int | None = 256,
        *,
        forward: str = AUTO,
        backward: str | None = None,
        precision: str | None = None,
        center: bool = True,
        floor: float = 0.0,
        vectorize: str | None = "triu",
        **parameters: Any,
    ) -> None:
        super().__init__()
        if precision not in PRECISIONS:
            raise InputError(unknown("precision", precision, [str(p) for p in PRECISIONS if p]))
        if vectorize not in VECTORIZE:
            raise InputError(unknown("vectorize", vectorize, [v for v in VECTORIZE if v]))
        check_type("center", center, True)
        check_floor(floor)
        if forward == FEATURES and floor:
            raise InputError(
                'floor changes the covariance, which forward="features" does not form: name '
                "another forward, or leave floor out."
            )
        if forward in (AUTO, FEATURES):
            _refuse_parts_of_pair(forward, backward, parameters)
        if channels is not None and channels < 1:
            raise InputError(f"channels = {channels} is not above 0.")

        self.root = forward
        self.backward_of_root = backward
        self.precision = precision
        self.center = center
        self.floor = float(floor)
        self.vectorize = vectorize
        self.parameters_of_root = dict(parameters)

        self.reduction: nn.Module = nn.Identity()
        if channels is not None:
            self.reduction = _reduction(in_channels, channels)
        self.in_channels = in_channels
        self.channels = n = in_channels if channels is None else channels
        self.out_features = n * (n + 1) // 2 if vectorize == "triu" else n * n
        rows, columns = torch.triu_indices(n, n)
        # The places of the triangle among the n² entries. They follow from n, and are not saved.
        self.register_buffer("triangle", rows * n + columns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled features, see the class. x: (batch, in_channels, height, width)."""
        if x.ndim not in (3, 4) or x.shape[1] != self.in_channels:
            raise InputError(
                f"expected a feature map (batch, {self.in_channels}, height, width), got shape "
                f"{tuple(x.shape)}."
            )
        if x.ndim == 3:
            x = x.unsqueeze(-1)

        if torch.onnx.is_in_onnx_export():
            raise InputError(_NO_ONNX)

        features = self.reduction(x).flatten(2)  # (batch, n, M)
        with without_autocast(features):
            root = self._root(features.to(self._dtype(features)))
        if self.vectorize is None:
            return root
        entries = root.flatten(1)
        return entries[:, self.triangle] if self.vectorize == "triu" else entries

    def _dtype(self, features: Tensor) -> torch.dtype:
        """Return the dtype in which covariance and root are computed."""
        named = PRECISIONS[self.precision]
        return torch.promote_types(features.dtype, torch.float32) if named is None else named

    def _root(self, features: Tensor) -> Tensor:
        """Return the root of the covariance of features, (batch, n, M) -> (batch, n, n)."""
        if self.takes_features(features):
            of_features: Tensor = sqrtm_of_features(features, center=self.center)
            return of_features
        return self.root_of_covariance(covariance(features, center=self.center))

    def takes_features(self, features: Tensor) -> bool:
        """Whether the root of features (batch, n, M) is taken from them, not their covariance."""
        n, places = features.shape[-2:]
        return self.root in (AUTO, FEATURES) and places < n and not self.floor

    def root_of_covariance(self, a: Tensor) -> Tensor:
        """Return the root of covariances, (batch, n, n), by the pair of this layer."""
        root: Tensor = sqrtm(
            a,
            # With as many places as channels, the features have no advantage over the covariance.
            forward=DEFAULT[0] if self.root == FEATURES else self.root,
            backward=self.backward_of_root,
            ridge=self.floor,
            **self.parameters_of_root,
        )
        return root

    def extra_repr(self) -> str:
        """Return what `print` shows of the layer: the sizes, and how the root is taken."""
        pair = " + ".join(filter(None, [self.root, self.backward_of_root]))
        words = [f"{self.in_channels} -> {self.out_features}", f"channels={self.channels}", pair]
        words += [f"{name}={value}" for name, value in self.parameters_of_root.items()]
        return ", ".join(words)


def check_type(name: str, value: Any, example: Any) -> None:
    """Raise InputError if a parameter is not true or false, or no number, as an example is."""
    if isinstance(example, bool):
        if not isinstance(value, bool):
            raise InputError(f"{name} = {value!r} is neither true nor false.")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} = {value!r} is not a number.")


def check_floor(floor: Any) -> None:
    """Raise InputError for a floor that is no number of 0 or more."""
    check_type("floor", floor, 0.0)
    if not 0 <= floor < math.inf:
        raise InputError(f"floor = {floor!r} is not a number of 0 or more.")


def _refuse_parts_of_pair(
    forward: str, backward: str | None, parameters: Mapping[str, Any]
) -> None:
    """Raise InputError if a backward or parameters are given with a forward that chooses both."""
    given = ["backward"] if backward else sorted(parameters)
    if given:
        raise InputError(
            f"forward {forward!r} chooses the whole pair: leave {given[0]} out, or name the "
            "forward."
        )


def covariance(features: Tensor, *, center: bool = True) -> Tensor:
    """Return X (I/M - 11ᵀ/M²) Xᵀ for features X, (batch, n, M) -> (batch, n, n).

    center: subtract the mean of each channel; without it the result is X Xᵀ / M.
    """
    if center:
        features = features - features.mean(-1, keepdim=True)
    return features @ features.mT / features.shape[-1]


def _reduction(in_channels: int, channels: int) -> nn.Module:
    """Return the 1 x 1 convolution, batch normalization and ReLU, initialised as in iSQRT-COV."""
    convolution = nn.Conv2d(in_channels, channels, kernel_size=1, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
