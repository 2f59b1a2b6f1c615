"""Covariances out of a model's forward pass, collected into a file for `--matrices`."""

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
    """What has been collected so far."""

    def __init__(self, axis: int, most: int, keep_features: bool) -> None:
        self.count = 0  # matrices
        self._axis, self._most, self._keep = axis, most, keep_features
        self._matrices: list[Floats] = []
        self._features: list[NDArray[np.float32]] = []

    def take(self, x: "torch.Tensor") -> None:
        """Add the covariances of one batch of features. Raises InputError for another shape."""
        room = self._most - self.count
        if room < 1:
            return
        features = self._spread(x.detach())[:room].double()  # (b, n, M)
        n, samples = features.shape[1:]
        if samples < 2 and x.ndim == 2:
            return  # the rest of a data set: a batch of one, which is one sample
        if samples < 2:
            raise InputError(f"capture: one sample of {n} channels has no covariance.")
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
        """(b, n, M): channels by positions; of (b, n) the batch itself is the samples."""
        if x.ndim < 2 or not x.is_floating_point():
            raise InputError(
                f"capture: {x.dtype} of shape {tuple(x.shape)} is no batch of features, which are "
                "(b, c, h, w), (b, c, M) or (b, n)."
            )
        x = x.movedim(self._axis, 1)
        return x.mT[None] if x.ndim == 2 else x.flatten(2)

    def write(self, path: Path) -> None:
        """Write what was collected. Raises InputError where there is nothing."""
        if not self._matrices:
            raise InputError("capture: the module was not called inside the block.")
        matrices = np.concatenate(self._matrices)
        if path.suffix == ".npy":
            np.save(path, matrices)
            return

        arrays: dict[str, Any] = {"matrices": matrices}
        if self._keep:
            if len({each.shape[1:] for each in self._features}) > 1:
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

    axis: that of the channels; -1 for the (b, tokens, channels) of a transformer. most: matrices;
    what comes later is ignored. features: whether an .npz also keeps the features themselves, in
    float32. Where the block raises, nothing is written. A file that exists is replaced.
    """
    path = Path(path)
    if path.suffix not in _ENDINGS:
        raise InputError(f"capture: {path} does not end in {' or '.join(_ENDINGS)}.")
    if features and path.suffix == ".npy":
        raise InputError(f"capture: {path} holds one array: name an .npz to keep the features.")
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
    """The tensor itself, or the first of several."""
    first = given[0] if isinstance(given, tuple | list) and given else given
    if not hasattr(first, "detach"):
        raise InputError(
            f"capture: the module gives {type(first).__name__}, which is not a tensor."
        )
    tensor: torch.Tensor = first
    return tensor
