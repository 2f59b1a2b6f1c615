"""`Task`: the data of a classification problem, and the tasks by name."""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mssbench.errors import SuiteError, unknown
from mssbench.problems.real import digest
from mssbench.problems.rng import Floats, Ints

SPLIT_SEED = (
    2018  # seeds the choice of training and test data; it is apart from those of a training
)


class Data(NamedTuple):
    """Inputs and their classes.

    Images have the shape (samples, 1, height, width), and features (samples, n, M).
    """

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class Task(NamedTuple):
    """A classification task.

    name: the word by which suites name it. classes: their number. train, test: disjoint data.
    digest: 16 hex digits over all data, equal on every machine.
    """

    name: str
    classes: int
    train: Data
    test: Data
    digest: str

    @property
    def has_images(self) -> bool:
        """Whether inputs are images, which a network reduces to features first."""
        return self.train.inputs.ndim == 4


def task(name: str) -> Task:
    """Return a task by name. It is made once and must not be changed.

    Raises SuiteError, which suggests the nearest name, for an unknown one, and NotInstalled if a
    package that holds its images is missing.
    """
    makers = _makers()
    if name not in makers:
        raise SuiteError(unknown("task", name, makers))
    return _made(name)


def names() -> tuple[str, ...]:
    """Return the names of all tasks."""
    return tuple(_makers())


@lru_cache(maxsize=4)
def _made(name: str) -> Task:
    return _makers()[name]()


def _makers() -> dict[str, Callable[[], Task]]:
    # Imported here, since these modules use this one.
    from mssbench.training.tasks import images, small_covariances

    return {
        "digits": images.digits,
        "tex12": images.tex12,
        "texfine": images.texfine,
        "smallcov": small_covariances.smallcov,
        "largecov": small_covariances.largecov,
    }


def made_task(
    name: str, train: tuple[Floats, Ints], test: tuple[Floats, Ints], *, split_seed: int
) -> Task:
    """Return a task from arrays, in single precision, with its digest."""
    parts = [
        Data(torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y.astype(np.int64)))
        for x, y in (train, test)
    ]
    every = "".join(digest(t.numpy()) for part in parts for t in part) + str(split_seed)
    whole = digest(np.frombuffer(every.encode(), dtype=np.uint8))
    return Task(name, int(train[1].max()) + 1, parts[0], parts[1], whole)
