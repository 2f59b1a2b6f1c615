"""Script that made the data of the problem `captured`, `captured_64x49.npz`.

`python -m mssbench.training.make_captured [FILE]` trains a network on one thread, in less than a
minute, and stores the features that it pools for 32 test images at four stages. Torch does not
guarantee the same bits on two machines, so that the features are stored rather than computed again.
The script documents their origin, and can make a new set. Without FILE it replaces the one in the
package.
"""

import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mssbench.training.captured import captured_features
from mssbench.training.loop import Settings, train
from mssbench.training.network import Method, Network
from mssbench.training.tasks.registry import task

EPOCHS = 8
# The stages by the number of complete epochs. Epoch 5 is the first one with a lower learning rate.
STAGES = {0: "start", 1: "first", 5: "middle", EPOCHS: "end"}


def stages(epochs: int = EPOCHS) -> dict[str, NDArray[np.float16]]:
    """Train and return the features by stage, each (32, 49, 64): images, positions, channels."""
    data = task("tex12")
    stored: dict[str, NDArray[np.float16]] = {}

    def keep(complete: int, network: Network) -> None:
        if complete in STAGES:
            features = captured_features(network, data).mT.numpy()
            stored[STAGES[complete]] = features.astype(np.float16)

    settings = Settings(seed=0, learning_rate=0.1, epochs=epochs)
    train(data, Method("eigh", "loewner"), settings, at_epoch=keep)
    return stored


def main() -> None:
    """Write the file, by default into the package."""
    torch.set_num_threads(1)
    default = Path(str(files("mssbench.problems") / "data" / "captured_64x49.npz"))
    arrays: dict[str, NDArray[np.float16]] = stages()
    np.savez_compressed(Path(sys.argv[1]) if len(sys.argv) > 1 else default, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
