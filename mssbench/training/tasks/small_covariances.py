"""Tasks whose classes differ in a few eigenvalues of a covariance alone: `smallcov`, `largecov`.

A sample is a set of features X, n x M, with covariance V diag(w) Vᵀ. The eigenvalues w fall
geometrically from 1 to 1/100, and each class doubles four of them: of the small half in `smallcov`,
of the large half in `largecov`. In `smallcov` a linear classifier of the covariance hardly sees the
class, since the large eigenvalues vary more than the small ones are large. The square root makes
the small ones larger. So the task decides whether a network profits from the root, and whether
small eigenvalues matter, and `largecov` is the control.
"""

import numpy as np

from mssbench.problems.rng import Floats, Ints, Streams
from mssbench.training.tasks.task import SPLIT_SEED, Task, made_task

_SIZE, _PLACES = 32, 196  # n and M, with more places than channels
_CLASSES = 6
_SAMPLES = 80  # of a class
_TRAINING = 50  # of them for training
_SMALLEST = 1e-2  # eigenvalue; the largest is 1
_CHANGED, _FACTOR = 4, 2.0  # eigenvalues that a class changes, and by what
_NUISANCE = 0.3  # standard deviation of the logarithm of each eigenvalue, in every sample


def smallcov() -> Task:
    """Return six classes that differ in small eigenvalues."""
    return _task("smallcov", np.arange(_SIZE // 2, _SIZE))


def largecov() -> Task:
    """Return six classes that differ in large eigenvalues, as a control of `smallcov`."""
    return _task("largecov", np.arange(_SIZE // 2))


def _task(name: str, half: Ints) -> Task:
    """Return a task. half: the numbers of the eigenvalues of which a class changes some."""
    basis = np.linalg.qr(Streams("basis", _SIZE, [0], SPLIT_SEED).normal(_SIZE, _SIZE)[0])[0]
    spectrum = np.geomspace(1.0, _SMALLEST, _SIZE)

    inputs, labels = [], []
    for label in range(_CLASSES):
        draw = Streams(name, _SIZE, range(_SAMPLES), SPLIT_SEED + label)
        chosen = np.argsort(Streams("classes", _SIZE, [label], SPLIT_SEED).uniform(len(half))[0])
        eigenvalues = spectrum.copy()
        eigenvalues[half[chosen[:_CHANGED]]] *= _FACTOR

        own = np.exp(_NUISANCE * draw.normal(_SIZE, 1))
        scaled = np.sqrt(eigenvalues[:, None] * own) * draw.normal(_SIZE, _PLACES)
        inputs.append(basis @ scaled)
        labels.append(np.full(_SAMPLES, label))

    train = _part(inputs, labels, slice(None, _TRAINING))
    test = _part(inputs, labels, slice(_TRAINING, None))
    return made_task(name, train, test, split_seed=SPLIT_SEED)


def _part(inputs: list[Floats], labels: list[Ints], part: slice) -> tuple[Floats, Ints]:
    return np.concatenate([x[part] for x in inputs]), np.concatenate([y[part] for y in labels])
