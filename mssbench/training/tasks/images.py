"""Tasks from the images of scikit-image and scikit-learn: `digits`, `tex12` and `texfine`.

Images are cut into blocks that go wholly to the training or to the test data, so that no pixel is
in both. Each patch has mean 0 and variance 1, so that brightness and contrast tell nothing.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import zoom

from mssbench.errors import NotInstalled, Unsupported
from mssbench.problems.real import DIGESTS, digest, grey
from mssbench.problems.rng import Floats, Ints, Streams
from mssbench.training.tasks.task import SPLIT_SEED, Task, made_task

_PATCH, _BLOCK = 28, 64  # sides of a patch and of a block, in pixels
_TRAINING_SHARE = 0.65  # of the blocks of an image
_TRAINING, _TEST = 200, 100  # patches of a class
_FLAT = 0.02  # smallest standard deviation of a patch: sky, for example, has no texture
_TRAINING_DIGITS = 1200  # of 1797
_TEXTURES = ("brick", "grass", "gravel")
_OTHER_IMAGES = (
    "hubble_deep_field",
    "immunohistochemistry",
    "retina",
    "chelsea",
    "coffee",
    "coins",
    "stereo_motorcycle",
    "china",
    "flower",
)
# Magnifications of a texture that are told apart in `texfine`.
_MAGNIFICATIONS = (1.0, 0.85, 0.72, 0.6)


def tex12() -> Task:
    """Return twelve classes: patches of twelve images, three of textures and nine of scenes."""
    return _patches("tex12", [grey(name) for name in (*_TEXTURES, *_OTHER_IMAGES)])


def texfine() -> Task:
    """Return twelve classes: three textures at four magnifications, which look much alike."""
    images = [_magnified(grey(name), z) for name in _TEXTURES for z in _MAGNIFICATIONS]
    return _patches("texfine", images)


def digits() -> Task:
    """Return ten classes: handwritten digits of 8 x 8 pixels."""
    pixels, labels = _handwritten()
    x = ((pixels - pixels.mean()) / pixels.std()).reshape(-1, 1, 8, 8)

    order = _permutation(Streams("digits", 8, [0], SPLIT_SEED), len(x))
    train, test = order[:_TRAINING_DIGITS], order[_TRAINING_DIGITS:]
    return made_task(
        "digits", (x[train], labels[train]), (x[test], labels[test]), split_seed=SPLIT_SEED
    )


def _handwritten() -> tuple[Floats, Ints]:
    """Return the digits of scikit-learn, (samples, 64), and their classes.

    Raises NotInstalled without scikit-learn, and Unsupported if its data is not that of this task.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise NotInstalled(
            f"the task digits needs scikit-learn: pip install 'mssbench[data]' ({error})"
        ) from error

    loaded = load_digits()
    if digest(loaded.data) != DIGESTS["digits"]:
        raise Unsupported("the installed scikit-learn has other digits than those of this task")
    return loaded.data.astype(np.float64), loaded.target.astype(np.int64)


def _magnified(image: Floats, factor: float) -> Floats:
    """Return an image scaled by a factor, by cubic splines."""
    return image if factor == 1.0 else zoom(image, factor, order=3, mode="reflect")


def _patches(name: str, images: Sequence[Floats]) -> Task:
    """Return a task whose classes are the images, with patches of their blocks."""
    parts: dict[bool, list[tuple[Floats, Ints]]] = {True: [], False: []}
    for label, image in enumerate(images):
        draw = Streams(name, _BLOCK, [label], SPLIT_SEED)
        blocks = _blocks(image)
        order = _permutation(draw, len(blocks))
        border = int(_TRAINING_SHARE * len(blocks))

        for is_training, chosen in ((True, order[:border]), (False, order[border:])):
            count = _TRAINING if is_training else _TEST
            found = _drawn(image, [blocks[i] for i in chosen], count, draw)
            parts[is_training].append((found, np.full(count, label)))

    train, test = (
        (np.concatenate([x for x, _ in part])[:, None], np.concatenate([y for _, y in part]))
        for part in (parts[True], parts[False])
    )
    return made_task(name, train, test, split_seed=SPLIT_SEED)


def _blocks(image: Floats) -> list[tuple[int, int]]:
    """Return the upper left corners of all whole blocks of an image."""
    height, width = image.shape
    rows = range(0, height - _BLOCK + 1, _BLOCK)
    columns = range(0, width - _BLOCK + 1, _BLOCK)
    return [(i, j) for i in rows for j in columns]


def _drawn(image: Floats, blocks: Sequence[tuple[int, int]], count: int, draw: Streams) -> Floats:
    """Return patches from random places of random blocks, each with mean 0 and variance 1."""
    patches = np.empty((count, _PATCH, _PATCH))
    room = _BLOCK - _PATCH + 1
    found = 0
    while found < count:
        number, down, right = (
            int(draw.integers(high, 1)[0, 0]) for high in (len(blocks), room, room)
        )
        i, j = blocks[number][0] + down, blocks[number][1] + right
        patch = image[i : i + _PATCH, j : j + _PATCH]
        if patch.std() >= _FLAT:
            patches[found] = (patch - patch.mean()) / patch.std()
            found += 1
    return patches


def _permutation(draw: Streams, count: int) -> Ints:
    """Return the numbers from 0 to count - 1 in a random order."""
    order: Ints = np.argsort(draw.uniform(count)[0], kind="stable")
    return order
