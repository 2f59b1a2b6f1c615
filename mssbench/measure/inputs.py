"""Fresh inputs for every call, from one batch: the same matrices in other places.

A permutation similarity, A -> P A Pᵀ, moves numbers and rounds none; a root, its gradient and the
cotangent move with it. Features X move as P X, or P X Pᵀ where they are square, and so does the
gradient with respect to them. So every call gets an input that the call before had not, all of them
have one truth, and a stale or a cached answer is a wrong one.

A triangular factor does not move with a permutation of rows. It does with A -> D A D for a diagonal
D of signs, which rounds nothing either.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from mssbench import arrays
from mssbench.arrays import Array

_MOST = 8  # inputs
_MOST_BYTES = 2**28  # of all of them


class Restore(Protocol):
    """The way back."""

    def __call__(self, x: Array, which: Sequence[int] | None = None) -> Array:
        """The matrices `which` of the batch, or all: (b, n, n) -> (m, n, n).

        What lies in the memory of the CPU comes back as a numpy array, where numpy has its type.
        """
        ...


class Input(NamedTuple):
    """One of the rotating inputs."""

    a: Array  # (b, n, n), or features (b, n, M)
    g: Array  # (b, n, n), the cotangent
    restore: Restore  # what came of `a`, as if that had not been moved


class Rotation:
    """Inputs in turn; the same ones in the same order for every method.

    a, g: (b, n, n), or a: (b, n, M), features, which are the first of them. That one is not in the
    turn: an answer kept from the first call is then wrong for every later one.
    """

    def __init__(self, a: Array, g: Array, seed: int, *, by_signs: bool = False) -> None:
        """by_signs: move by signs, where no permutation of rows may be."""
        room = _MOST_BYTES // max(1, a.nbytes + g.nbytes)
        self._inputs = [Input(a, g, as_it_is)]
        for number in range(1, max(3, min(_MOST, room))):
            rng = np.random.default_rng([seed, number])
            self._inputs.append((_with_signs if by_signs else _moved)(a, g, rng))
        # a write into an input changes these, and so is noticed without a copy of it
        self._sums = [(arrays.bit_sums(x.a), arrays.bit_sums(x.g)) for x in self._inputs]
        self._next = 0

    @property
    def first(self) -> Input:
        """The batch as the problem made it."""
        return self._inputs[0]

    @property
    def all(self) -> tuple[Input, ...]:
        """Every input, in order."""
        return tuple(self._inputs)

    def fresh(self) -> Input:
        """The first in memory of its own: who remembers answers by address has none for it."""
        a, g, restore = self._inputs[0]
        return Input(arrays.copy(a), arrays.copy(g), restore)

    def begin(self) -> None:
        """From here on the order is that of a new one."""
        self._next = 0

    def next(self, among: int = 0) -> Input:
        """The input whose turn it is; among so many of them, or all."""
        turn = min(among or len(self._inputs), len(self._inputs) - 1)
        self._next = self._next % turn + 1
        return self._inputs[self._next]

    def written(self, cotangents: bool = True) -> str:
        """`input` or `cotangent` where one of them is no longer what it was; else empty.

        cotangents: whether they were handed to anybody; a forward alone never sees them.
        """
        for x, (a, g) in zip(self._inputs, self._sums, strict=True):
            if not bool((arrays.bit_sums(x.a) == a).all()):
                return "input"
            if cotangents and not bool((arrays.bit_sums(x.g) == g).all()):
                return "cotangent"
        return ""

    def fitting(self, cache: int) -> int:
        """How many inputs, each with its output, a cache of so many bytes holds; one at least."""
        a, g, _ = self.first  # a root has the size of its cotangent
        return max(1, cache // max(1, int(a.nbytes) + 2 * int(g.nbytes)))


def _moved(a: Array, g: Array, rng: np.random.Generator) -> Input:
    b, n = a.shape[:2]
    batch, rows = rng.permutation(b), rng.permutation(n)
    from_batch, from_rows = np.argsort(batch), np.argsort(rows)

    def restore(x: Array, which: Sequence[int] | None = None) -> Array:
        places = from_batch if which is None else from_batch[list(which)]
        return _move(arrays.on_host(x), places, from_rows)  # a small copy is faster in numpy

    return Input(_move(a, batch, rows), _move(g, batch, rows), restore)


def _with_signs(a: Array, g: Array, rng: np.random.Generator) -> Input:
    b, n = a.shape[:2]
    batch, signs = rng.permutation(b), rng.choice([-1.0, 1.0], n)
    from_batch, pattern = np.argsort(batch), np.outer(signs, signs)

    def changed(x: Array, places: np.ndarray) -> Array:
        taken = arrays.take(x, places, 0)
        return taken * arrays.from_numpy(pattern, like=taken)

    def restore(x: Array, which: Sequence[int] | None = None) -> Array:
        return changed(arrays.on_host(x), from_batch if which is None else from_batch[list(which)])

    return Input(changed(a, batch), changed(g, batch), restore)


def _move(x: Array, batch: np.ndarray, rows: np.ndarray) -> Array:
    moved = arrays.take(arrays.take(x, batch, 0), rows, 1)
    # vectors (b, n, 1) and features (b, n, M) have other columns than rows
    return moved if x.shape[-1] != x.shape[-2] else arrays.take(moved, rows, 2)


def as_it_is(x: Array, which: Sequence[int] | None = None) -> Array:
    """The way back where nothing was moved."""
    return x if which is None else arrays.take(x, np.array(which), 0)
