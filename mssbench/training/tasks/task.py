"""`Task`: the data of a classification problem."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mssbench.problems.real import digest
from mssbench.problems.rng import Floats, Ints

# It seeds the choice of training and test data, and is apart from the seeds of trainings.
SPLIT_SEED = 2018


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
