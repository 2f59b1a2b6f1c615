"""Matrices for files of one's own, and what the problem `file` makes of them."""

import numpy as np
import pytest

from mssbench import problems
from mssbench.errors import RegistryError

RNG = np.random.default_rng(7)


def symmetric(a: np.ndarray) -> np.ndarray:
    return (a + np.swapaxes(a, -1, -2)) / 2


def covariances(count: int = 3, n: int = 4, samples: int = 20) -> np.ndarray:
    x = RNG.normal(size=(count, n, samples))
    return symmetric(x @ x.swapaxes(1, 2) / samples)


A = covariances()
A.flags.writeable = False


def made(text: str, size: int = 4, batch: int = 3) -> problems.Problem:
    return problems.make(text, size, batch, 0)


def refusal(text: str) -> str:
    """The one line that a problem is refused with."""
    with pytest.raises(RegistryError) as caught:
        problems.canonical(text)
    assert "\n" not in str(caught.value)
    return str(caught.value)
