"""How `convfeat_64x49.npz` was made: `python -m mssbench.problems.data.make_convfeat [FILE]`.

Features of a random network with three 3 by 3 convolutions on 32 crops of real images. Torch does
not promise the same bits on two machines, so the features are stored and not computed again; this
script says where they come from, and makes a new set where one is wanted.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mssbench.problems.real import grey
from mssbench.problems.rng import Floats

IMAGES = ("brick", "grass", "gravel", "hubble_deep_field", "retina", "china", "flower", "coffee")
CROPS_PER_IMAGE = 4
SIDE = 28  # pixels; two of the convolutions halve it, so 7 by 7 = 49 positions are left
CHANNELS = (32, 64, 128)
OUT = 64
STRIDES = (2, 2, 1)


def crops() -> Floats:
    """(32, 28, 28): four crops around the centre of each image, each of mean 0 and variance 1."""
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
    """(32, 49, 64): rectified features, positions by channels."""
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
    """Write the file, by default in place of the one that is shipped."""
    default = Path(__file__).parent / "convfeat_64x49.npz"
    np.savez_compressed(Path(sys.argv[1]) if len(sys.argv) > 1 else default, features=features())


if __name__ == "__main__":
    main()
