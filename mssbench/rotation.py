"""Fresh inputs for every call, from one batch: the same matrices in other places.

A permutation similarity, A -> P A Pᵀ, moves numbers and rounds none; a root, its gradient and the
cotangent move with it. So every call gets an input that the call before had not, all of them have
one truth, and a stale or a cached answer is a wrong one.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mssbench import arrays
from mssbench.arrays import Array

_MOST = 8  # inputs
_MOST_BYTES = 2**28  # of all of them


class Input(NamedTuple):
    """One of the rotating inputs."""

    a: Array  # (b, n, n)
    g: Array  # (b, n, n), the cotangent
    restore: Callable[[Array], Array]  # (b, n, n) -> (b, n, n): as if `a` had not been moved


class Rotation:
    """Inputs in turn; the same ones in the same order for every method.

    a, g: (b, n, n), which are the first of them.
    """

    def __init__(self, a: Array, g: Array, seed: int) -> None:
        room = _MOST_BYTES // max(1, 2 * a.nbytes)
        self._inputs = [Input(a, g, _as_it_is)]
        for number in range(1, max(2, min(_MOST, room))):
            self._inputs.append(_moved(a, g, np.random.default_rng([seed, number])))
        self._next = 0

    @property
    def first(self) -> Input:
        """The batch as the problem made it."""
        return self._inputs[0]

    @property
    def all(self) -> tuple[Input, ...]:
        """Every input, in order."""
        return tuple(self._inputs)

    def next(self) -> Input:
        """The input whose turn it is."""
        self._next = (self._next + 1) % len(self._inputs)
        return self._inputs[self._next]


def _moved(a: Array, g: Array, rng: np.random.Generator) -> Input:
    b, n = a.shape[0], a.shape[-1]
    batch, rows = rng.permutation(b), rng.permutation(n)
    there, back = (batch, rows), (np.argsort(batch), np.argsort(rows))
    return Input(_move(a, *there), _move(g, *there), lambda x: _move(x, *back))


def _move(x: Array, batch: np.ndarray, rows: np.ndarray) -> Array:
    return arrays.take(arrays.take(arrays.take(x, batch, 0), rows, 1), rows, 2)


def _as_it_is(x: Array) -> Array:
    return x
