"""Fresh inputs for every call, from one batch: the same matrices in other places.

A permutation similarity, A -> P A Pᵀ, moves numbers and rounds none; a root, its gradient and the
cotangent move with it. Features X move as P X, or P X Pᵀ where they are square, and so does the
gradient with respect to them. So every call gets an input that the call before had not, all of them
have one truth, and a stale or a cached answer is a wrong one.

A triangular factor does not move with a permutation of rows. It does with A -> D A D for a diagonal
D of signs, which rounds nothing either.

Where there are too few permutations, matrices are also multiplied by a power of 4. That rounds
nothing either: the root is multiplied by a power of 2.
"""

import random
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.records.cell import APPLIED, LOGARITHM, OF_FEATURES, WHITENING

# By function, the power of A to which a root and a gradient are proportional, times 2. Features are
# what is multiplied where they are the input, and a root is proportional to them.
# A logarithm is proportional to none, and its matrices are never multiplied.
_ROOT_POWER = {
    "sqrt": 1, "isqrt": -1, APPLIED: -1, OF_FEATURES: 2, WHITENING: -1, LOGARITHM: 0,
}  # fmt: skip
_GRADIENT_POWER = {
    "sqrt": -1, "isqrt": -3, APPLIED: -3, OF_FEATURES: 0, WHITENING: -3, LOGARITHM: 0,
}  # fmt: skip
_FEW = 64  # batch x size: with fewer shifts, samples would soon meet the same content again
# Exponents of 4: small enough that no root or gradient overflows whose matrices do not.
_MOST_POWER, _MOST_POWER_OF_HALF = 3, 1

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
    # (b,), by which power of 4 each matrix was multiplied, in the order of the batch as the problem
    # made it; None where none was
    powers: np.ndarray | None = None

    def restore_root(self, function: str) -> Restore:
        """The way back of a root, with the scale that it has for the batch as it was made."""
        return _unscaled(self.restore, self.powers, _ROOT_POWER[function])

    def restore_gradient(self, function: str) -> Restore:
        """The same of a gradient."""
        return _unscaled(self.restore, self.powers, _GRADIENT_POWER[function])


class Rotation:
    """Inputs in turn; the same ones in the same order for every method.

    a, g: (b, n, n), or a: (b, n, M), features, which are the first of them. That one is not in the
    turn: an answer kept from the first call is then wrong for every later one.
    """

    def __init__(
        self, a: Array, g: Array, seed: int, *, by_signs: bool = False, scales: bool = True
    ) -> None:
        """by_signs: move by signs, where no permutation of rows may be.

        scales: whether multiplied matrices have a multiple of the answer, as a logarithm has not.
        """
        self._by_signs, self._scales = by_signs, scales
        room = _MOST_BYTES // max(1, a.nbytes + g.nbytes)
        self._inputs = [Input(a, g, as_it_is)]
        for number in range(1, max(3, min(_MOST, room))):
            rng = np.random.default_rng([seed, number])
            moved = (_with_signs if by_signs else _moved)(a, g, rng)
            self._inputs.append(_unlike(moved, self._inputs) if scales else moved)
        # a write into an input changes these, and so is noticed without a copy of it
        self._sums = [(arrays.bit_sums(x.a), arrays.bit_sums(x.g)) for x in self._inputs]
        self._next = 0
        # Of its own, as a method may set the seed of the shared generators.
        self._random = random.Random()  # noqa: S311

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
        a, g, restore, _ = self._inputs[0]
        return Input(arrays.copy(a), arrays.copy(g), restore)

    def new(self) -> Input:
        """The first as no call has seen it: shifted at random, and scaled where shifts are few."""
        a, g, _, _ = self.first
        b, n = a.shape[:2]
        powers = None
        if self._has_few_shifts and self._scales:
            most = _most_power(a)
            drawn = np.array([self._random.randint(-most, most) for _ in range(b)])
            scaled = _scaled(a, drawn)
            if scaled is not None:
                a, powers = scaled, drawn

        if self._by_signs:
            moved = _with_signs(a, g, np.random.default_rng(self._random.getrandbits(64)))
        else:
            batch, rows = divmod(self._random.randrange(1, max(2, b * n)) % (b * n), n)
            moved = _shifted(a, g, batch, rows)
        return moved._replace(powers=powers)

    @cached_property
    def _has_few_shifts(self) -> bool:
        """Whether a shift may leave the matrices as they were, as it does for multiples of I."""
        a, g, _, _ = self.first
        b, n = a.shape[:2]
        if b * n < _FEW:
            return True
        return any(_same(_shifted(a, g, *by).a, a) for by in ((0, 1), (1, 0), (1, 1)))

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
        a, g, _, _ = self.first  # a root has the size of its cotangent
        return max(1, cache // max(1, int(a.nbytes) + 2 * int(g.nbytes)))


def _moved(a: Array, g: Array, rng: np.random.Generator) -> Input:
    b, n = a.shape[:2]
    batch, rows = rng.permutation(b), rng.permutation(n)
    return Input(_move(a, batch, rows), _move(g, batch, rows), _way_back(batch, rows))


def _shifted(a: Array, g: Array, batch: int, rows: int) -> Input:
    """The same moved in a circle, which is several times as fast as any other permutation."""
    b, n = a.shape[:2]
    back = _way_back(np.roll(np.arange(b), batch), np.roll(np.arange(n), rows))
    return Input(_shift(a, batch, rows), _shift(g, batch, rows), back)


def _shift(x: Array, batch: int, rows: int) -> Array:
    columns = rows if x.shape[-1] == x.shape[-2] else 0
    return arrays.roll(x, (batch, rows, columns))


def _way_back(batch: np.ndarray, rows: np.ndarray) -> Restore:
    """The way back of what was moved so that place i has what was in batch[i], and so the rows."""
    from_batch, from_rows = np.argsort(batch), np.argsort(rows)

    def restore(x: Array, which: Sequence[int] | None = None) -> Array:
        places = from_batch if which is None else from_batch[list(which)]
        return _move(arrays.on_host(x), places, from_rows)  # a small copy is faster in numpy

    return restore


def _unlike(x: Input, others: Sequence[Input]) -> Input:
    """The input, scaled where one of the others is the same; as it is where no scale helps."""
    if not any(_same(x.a, other.a) for other in others):
        return x
    for power in range(1, _most_power(x.a) + 1):
        for signed in (power, -power):
            powers = np.full(len(x.a), signed)
            scaled = _scaled(x.a, powers)
            if scaled is not None and not any(_same(scaled, other.a) for other in others):
                return x._replace(a=scaled, powers=powers)
    return x


def _same(x: Array, y: Array) -> bool:
    """Whether two inputs have the same content; nearly always their first row tells."""
    if not bool((x[0, 0] == y[0, 0]).all()):
        return False
    return bool((x == y).all())


def _scaled(a: Array, powers: np.ndarray) -> Array | None:
    """The matrices multiplied by powers of 4, (b,); None where that would round one."""
    factors = arrays.from_numpy(4.0 ** powers[:, None, None], like=a)
    scaled = a * factors
    exact = (scaled / factors == a).all() and (abs(scaled) < float("inf")).all()
    return scaled if bool(exact) else None


def _most_power(a: Array) -> int:
    return _MOST_POWER_OF_HALF if arrays.dtype_name(a) == "float16" else _MOST_POWER


def _unscaled(restore: Restore, powers: np.ndarray | None, power: int) -> Restore:
    """The way back of what is proportional to 2^(power k) where a matrix was multiplied by 4^k."""
    if powers is None or power == 0:
        return restore
    factors = 2.0 ** (-power * powers[:, None, None])

    def unscaled(x: Array, which: Sequence[int] | None = None) -> Array:
        picked = restore(x, which)
        of_picked = factors if which is None else factors[list(which)]
        return picked * arrays.from_numpy(of_picked, like=picked)

    return unscaled


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
