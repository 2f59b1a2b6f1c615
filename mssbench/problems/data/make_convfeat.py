"""Script that made `convfeat_64x49.npz`: `python -m mssbench.problems.data.make_convfeat [FILE]`.

The file holds features of a random network with three 3 by 3 convolutions on 32 crops of real
images. Torch does not guarantee the same bits on two machines, so that the features are stored
rather than computed again. The script documents their origin, and can make a new set.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mssbench.problems.real import grey
from mssbench.problems.rng import Floats

IMAGES = ("brick", "grass", "gravel", "hubble_deep_field", "retina", "china", "flower", "coffee")
CROPS_PER_IMAGE = 4
SIDE = 28  # pixels; two of the convolutions halve it, which gives 7 by 7 = 49 positions
CHANNELS = (32, 64, 128)
OUT = 64
STRIDES = (2, 2, 1)


def crops() -> Floats:
    """Return four crops around the centre of each image, (32, 28, 28), of mean 0 and variance 1."""
    out = []
    for k in range(CROPS_PER_IMAGE):
        for image in IMAGES:
            x = grey(image)
            top = x.shape[0] // 2 - (k // 2) * SIDE
            left = x.shape[1] // 2 - (k % 2) * SIDE
            crop = x[top : top + SIDE, left : left + SIDE]
            out.append((crop - crop.mean()) / crop.std())

    return np.stack(out)


def features() -> NDArray[np.float32]:
    """Return the rectified features, (32, 49, 64), positions by channels."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers: list[nn.Module] = []
    before = 1
    for after, stride in zip(CHANNELS, STRIDES, strict=True):
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
        before = after
    layers += [nn.Conv2d(before, OUT, 1), nn.BatchNorm2d(OUT), nn.ReLU()]

    with torch.no_grad():
        x = torch.tensor(crops()[:, None], dtype=torch.float32)
        y: NDArray[np.float32] = nn.Sequential(*layers)(x).flatten(2).mT.numpy()
    return y


def main() -> None:
    """Write the file; by default it replaces the one in the package."""
    default = Path(__file__).parent / "convfeat_64x49.npz"
    np.savez_compressed(Path(sys.argv[1]) if len(sys.argv) > 1 else default, features=features())


if __name__ == "__main__":
    main()
