"""Collection of covariances from the forward pass of a model into a file for `--matrices`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mssbench.errors import InputError
from mssbench.problems.rng import Floats

if TYPE_CHECKING:
    import torch

_ENDINGS = (".npz", ".npy")


class Capture:
    """The covariances collected so far."""

    def __init__(self, axis: int, most: int, keep_features: bool) -> None:
        self.count = 0  # number of matrices
        self._axis, self._most, self._keep = axis, most, keep_features
        self._matrices: list[Floats] = []
        self._features: list[NDArray[np.float32]] = []

    def take(self, x: "torch.Tensor") -> None:
        """Add the covariances of one batch of features.

        Raises InputError for features of an unsuitable shape or dtype, or of another size than
        before.
        """
        room = self._most - self.count
        if room < 1:
            return

        features = self._spread(x.detach())[:room].double()  # (b, n, M)
        n, samples = features.shape[1:]
        if samples < 2 and x.ndim == 2:
            return  # the last batch of a data set may have a single sample
        if samples < 2:
            raise InputError(
                f"capture: one sample of {n} channels has no covariance: give two positions or "
                "more."
            )
        if self._matrices and n != self._matrices[0].shape[-1]:
            before = self._matrices[0].shape[-1]
            raise InputError(f"capture: the module had {before} channels before, and {n} now.")

        centred = features - features.mean(dim=2, keepdim=True)
        a = centred @ centred.mT / samples
        self._matrices.append(((a + a.mT) / 2).cpu().numpy())
        if self._keep:
            self._features.append(features.float().cpu().numpy())
        self.count += len(a)

    def _spread(self, x: "torch.Tensor") -> "torch.Tensor":
        """Return features as (b, n, M): n channels at M positions.

        Features without positions, (b, n), become (1, n, b): each row of the batch is a sample.
        Raises InputError for a tensor that has no such shape, or no floating-point numbers.
        """
        if x.ndim < 2:
            raise InputError(
                f"capture: a tensor of shape {tuple(x.shape)} is not a batch of features. These "
                "are (b, c, h, w) or (b, c, M), b samples of c channels at h x w or M positions, "
                "or (b, n), b samples of n channels."
            )
        if not x.is_floating_point():
            raise InputError(
                f"capture: {x.dtype} are not floating-point numbers, as features are: convert "
                "them, for example by .float()."
            )
        x = x.movedim(self._axis, 1)
        return x.mT[None] if x.ndim == 2 else x.flatten(2)

    def write(self, path: Path) -> None:
        """Write the collected arrays. Raises InputError if there are none."""
        if not self._matrices:
            raise InputError("capture: the module was not called inside the block.")

        matrices = np.concatenate(self._matrices)
        if path.suffix == ".npy":
            np.save(path, matrices)
            return

        arrays: dict[str, Any] = {"matrices": matrices}
        if self._keep:
            if len({batch.shape[1:] for batch in self._features}) > 1:
                raise InputError("capture: features of several shapes do not fit into one array.")
            arrays["features"] = np.concatenate(self._features)
        np.savez(path, **arrays)


@contextmanager
def capture(
    module: "torch.nn.Module",
    path: str | Path,
    *,
    of: Literal["output", "input"] = "output",
    axis: int = 1,
    most: int = 256,
    features: bool = False,
) -> Iterator[Capture]:
    """Collect the covariances of a module's features, and write them to a file at the end.

        with mssbench.capture(model.layer4, "cov.npz"):
            model(images)

    and then `mssbench run quick --matrices cov.npz`. The module's output, or its first input, is
    (b, c, h, w) or (b, c, M), which gives a covariance for each of the b samples, or (b, n), which
    gives one over the batch: A = X Xᵀ / M with rows of mean 0, in float64.

    of: whether the output or the first input of the module is used. axis: the axis of the channels;
    -1 for (b, tokens, channels) as in a transformer. most: the largest number of matrices; later
    ones are ignored. features: whether an .npz file also holds the features themselves, in float32.
    If the block raises, nothing is written. An existing file is replaced.

    Raises InputError for invalid arguments, and for features that have no covariance.
    """
    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise InputError(f"capture: {path} does not end in {' or '.join(_ENDINGS)}.")
    if features and path.suffix == ".npy":
        raise InputError(
            f"capture: a .npy file such as {path} can hold one array only. To keep the features "
            "too, give a name that ends in .npz."
        )
    if not path.parent.is_dir():
        raise InputError(f"capture: there is no folder {path.parent}.")
    if of not in ("output", "input"):
        raise InputError(f"capture: of = {of!r} is neither 'output' nor 'input'.")
    if most < 1:
        raise InputError(f"capture: most = {most} leaves no matrix.")
    taken = Capture(axis, most, features)

    def hook(_module: Any, inputs: Any, output: Any) -> None:
        taken.take(_tensor(inputs if of == "input" else output))

    handle = module.register_forward_hook(hook)
    try:
        yield taken
    finally:
        handle.remove()
    taken.write(path)


def _tensor(given: Any) -> "torch.Tensor":
    """Return the tensor, or the first one of a tuple or list. Raises InputError if it is none."""
    first = given[0] if isinstance(given, tuple | list) and given else given
    if not hasattr(first, "detach"):
        raise InputError(
            f"capture: the module gives {type(first).__name__}, which is not a tensor."
        )
    tensor: torch.Tensor = first
    return tensor
