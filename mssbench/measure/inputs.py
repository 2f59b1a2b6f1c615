"""Make different inputs for successive calls, by permuting and scaling one batch.

A permutation similarity, A -> P A Pᵀ, moves entries without rounding them, and the root, its
gradient and the cotangent move in the same way. Features X become P X, or P X Pᵀ if they are
square, and so does the gradient with respect to them. Thus each call gets another input than the
call before, one reference serves for all inputs, and an answer kept from another input is wrong.

A triangular factor is not equivariant under permutations of rows. It is under A -> D A D for a
diagonal matrix D of signs, which is exact too.

If there are too few different permutations, the matrices are also multiplied by a power of 4. That
is exact too: the root is then multiplied by a power of 2.
"""

import hashlib
import random
from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.records.cell import APPLIED, LOGARITHM, OF_FEATURES, WHITENING

# By function, twice the power of the input to which the root, or its gradient, is proportional. The
# input of sqrt_x is the features; that of all other functions is the matrices. A logarithm is not
# proportional to a power of its matrices, so its inputs are never scaled.
_ROOT_POWER = {
    "sqrt": 1,
    "isqrt": -1,
    APPLIED: -1,
    OF_FEATURES: 2,
    WHITENING: -1,
    LOGARITHM: 0,
}
_GRADIENT_POWER = {
    "sqrt": -1,
    "isqrt": -3,
    APPLIED: -3,
    OF_FEATURES: 0,
    WHITENING: -3,
    LOGARITHM: 0,
}
# Least number of cyclic shifts, batch x size: with fewer, the same content would soon occur again.
_FEW = 64
# Largest exponents of 4; the smallest is 0. Matrices are never made smaller, because the absolute
# constants of some methods, such as an ε that is added, would then make these wrong at a scale that
# the suite does not have. With these exponents, no root or gradient overflows unless the matrices
# do.
_MOST_POWER, _MOST_POWER_OF_HALF = 6, 2
# Batches with fewer than 16 shifts get a larger exponent, to have enough different contents. The
# features of `sqrt_x` are scaled as well, so that their matrices may grow by 4^24, and the squares
# of those by 4^48, which float32 can represent.
_VERY_FEW, _MOST_POWER_OF_FEW = 16, 12
# Largest batch x size whose new inputs are permuted at random: copying a batch of this size in
# another order takes less than a millisecond.
_MOST_PERMUTED = 1024
# Attempts at a content that has not been drawn before. With many contents left the first succeeds;
# with none left, the loop must end.
_DRAWS = 20
# Number of inputs, and the bytes they may take together: more inputs are harder to remember, but
# take memory from the methods.
_MOST = 8
_MOST_BYTES = 2**28


class Restore(Protocol):
    """Turns the answer (root or gradient) to a permuted input into that to the original batch."""

    def __call__(self, x: Array, which: Sequence[int] | None = None) -> Array:
        """Return the matrices `which` of the original batch, or all: (b, n, n) -> (m, n, n).

        An array in the memory of the CPU becomes a numpy array, if numpy has its dtype.
        """
        ...


class Input(NamedTuple):
    """The input of one call: matrices and cotangents, permuted and perhaps scaled."""

    a: Array  # (b, n, n), or features (b, n, M)
    g: Array  # (b, n, n), the cotangent
    restore: Restore  # undoes the move of `a` on an answer
    # (b,), each matrix was multiplied by 4 to this power, in the order of the original batch; None
    # if the batch was not scaled
    powers: np.ndarray | None = None

    def restore_root(self, function: str) -> Restore:
        """Return a function that turns a root of this input into one of the original batch."""
        return _unscaled(self.restore, self.powers, _ROOT_POWER[function])

    def restore_gradient(self, function: str) -> Restore:
        """Return a function that turns a gradient for this input into one for the original."""
        return _unscaled(self.restore, self.powers, _GRADIENT_POWER[function])


class Rotation:
    """Returns a few different inputs in turn, the same in the same order for every method.

    a: matrices, (b, n, n), or features, (b, n, M).
    g: cotangents, (b, n, n).
    seed: determines the permutations.
    by_signs: whether rows and columns are multiplied by signs instead of being permuted.
    scales: whether the answer for a multiple of A is a multiple of that for A, which is not the
        case for a logarithm.

    The original batch is the first input and is not among those that `next` returns: an answer kept
    from the first call is therefore wrong for every later one.
    """

    def __init__(
        self, a: Array, g: Array, seed: int, *, by_signs: bool = False, scales: bool = True
    ) -> None:
        self._by_signs, self._scales = by_signs, scales

        room = _MOST_BYTES // max(1, a.nbytes + g.nbytes)
        self._inputs = [Input(a, g, as_it_is)]
        for number in range(1, max(3, min(_MOST, room))):
            rng = np.random.default_rng([seed, number])
            moved = (_with_signs if by_signs else _moved)(a, g, rng)
            self._inputs.append(_unlike(moved, self._inputs) if scales else moved)

        # Checksums detect a write into an input without a copy of it.
        self._sums = [(arrays.bit_sums(x.a), arrays.bit_sums(x.g)) for x in self._inputs]

        self._next = 0
        self._drawn: set[Hashable] = set()  # keys of the contents that `new` has returned
        self.repeats = False  # whether the latest content from `new` had occurred before
        # A generator of its own, since a method may set the seed of a shared one.
        self._random = random.Random()  # noqa: S311

    @property
    def first(self) -> Input:
        """Return the original batch, as the problem made it."""
        return self._inputs[0]

    @property
    def all(self) -> tuple[Input, ...]:
        """Return the original batch and the rotating inputs, in order."""
        return tuple(self._inputs)

    def fresh(self) -> Input:
        """Return a copy of the original batch, at an address that no method has seen."""
        a, g, restore, _ = self._inputs[0]
        return Input(arrays.copy(a), arrays.copy(g), restore)

    def new(self) -> Input:
        """Return the original batch with matrices, rows and columns moved at random.

        It is also scaled if few moves give different contents. The content is new to a method that
        has received only inputs of this rotation since `begin`. If all contents have been used, it
        cannot be new, and `repeats` is set.
        """
        for _ in range(_DRAWS):
            moved, key = self._draw()
            self.repeats = key in self._drawn
            if not self.repeats:
                break

        self._drawn.add(key)

        if self._has_few_shifts:  # the content may be equal to that of a rotating input
            self.repeats |= any(_same(moved.a, other.a) for other in self._inputs)

        return moved

    def _draw(self) -> tuple[Input, Hashable]:
        """Return a new input, and a key that distinguishes its content from that of others."""
        a, g, _, _ = self.first
        powers = self._draw_powers()
        scaled = None if powers is None else _scaled(a, powers)
        if scaled is None:
            powers = None
        else:
            a = scaled

        b, n = a.shape[:2]
        if self._by_signs or self._permutes:
            number = self._random.getrandbits(64)
            move = _with_signs if self._by_signs else _moved
            moved = move(a, g, np.random.default_rng(number))
        else:
            number = self._random.randrange(1, max(2, b * n)) % (b * n)
            moved = _shifted(a, g, *divmod(number, n))

        key: Hashable = number
        if self._has_few_shifts:  # different moves may give the same content
            key = hashlib.blake2b(arrays.on_host(moved.a).tobytes()).digest()

        return moved._replace(powers=powers), key

    def _draw_powers(self) -> np.ndarray | None:
        """Return the exponents of 4 by which the matrices of a new input are multiplied, (b,)."""
        b, n = self.first.a.shape[:2]
        if not (self._scales and self._has_few_shifts):
            return None
        most = _most_power(self.first.a, of_few=b * n < _VERY_FEW)
        return np.array([self._random.randint(0, most) for _ in range(b)])

    @property
    def _permutes(self) -> bool:
        """Whether new inputs are permuted at random, so that later calls rarely get the same ones.

        A larger batch has enough different shifts, and a shift takes a fraction of the time.
        """
        b, n = self.first.a.shape[:2]
        return bool(_FEW <= b * n <= _MOST_PERMUTED)

    @cached_property
    def _has_few_shifts(self) -> bool:
        """Whether there are few cyclic shifts of batch and rows, or some that change nothing."""
        a, g, _, _ = self.first
        b, n = a.shape[:2]

        if b * n < _FEW:
            return True

        shifts = {(batch % b, rows % n) for batch, rows in ((0, 1), (1, 0), (1, 1))} - {(0, 0)}
        return any(_same(_shifted(a, g, *by).a, a) for by in shifts)

    def begin(self) -> None:
        """Start again with the first rotating input, for a method that has seen none of the inputs.

        All contents that `new` has returned before count as new again.
        """
        self._next = 0
        self._drawn.clear()

    def next(self, among: int = 0) -> Input:
        """Return the next of the rotating inputs.

        among: how many of them are used in turn; 0 means all.
        """
        turn = min(among or len(self._inputs), len(self._inputs) - 1)
        self._next = self._next % turn + 1
        return self._inputs[self._next]

    def written(self, cotangents: bool = True) -> str:
        """Return which array a method has written into, `input` or `cotangent`; empty for neither.

        cotangents: whether the method was given cotangents; a forward alone is not.
        """
        for x, (a, g) in zip(self._inputs, self._sums, strict=True):
            if not bool((arrays.bit_sums(x.a) == a).all()):
                return "input"
            if cotangents and not bool((arrays.bit_sums(x.g) == g).all()):
                return "cotangent"
        return ""

    def fitting(self, cache: int) -> int:
        """Return how many inputs, each with its output, fit into `cache` bytes; at least 1."""
        a, g, _, _ = self.first  # a root has the size of its cotangent
        return max(1, cache // max(1, int(a.nbytes) + 2 * int(g.nbytes)))


def _moved(a: Array, g: Array, rng: np.random.Generator) -> Input:
    """Return an input: the matrices, and their rows and columns, permuted at random."""
    b, n = a.shape[:2]
    batch, rows = rng.permutation(b), rng.permutation(n)
    return Input(_move(a, batch, rows), _move(g, batch, rows), _way_back(batch, rows))


def _shifted(a: Array, g: Array, batch: int, rows: int) -> Input:
    """Return an input permuted by cyclic shifts, which are faster than a random permutation."""
    b, n = a.shape[:2]
    back = _way_back(np.roll(np.arange(b), batch), np.roll(np.arange(n), rows))
    return Input(_shift(a, batch, rows), _shift(g, batch, rows), back)


def _shift(x: Array, batch: int, rows: int) -> Array:
    columns = rows if x.shape[-1] == x.shape[-2] else 0
    return arrays.roll(x, (batch, rows, columns))


def _way_back(batch: np.ndarray, rows: np.ndarray) -> Restore:
    """Return a function that undoes a permutation.

    batch: (b,), matrix batch[i] was put into place i of the batch.
    rows: (n,), row rows[i] was put into place i of the rows.
    """
    from_batch, from_rows = np.argsort(batch), np.argsort(rows)

    def restore(x: Array, which: Sequence[int] | None = None) -> Array:
        places = from_batch if which is None else from_batch[list(which)]
        return _move(arrays.on_host(x), places, from_rows)  # a small copy is faster in numpy

    return restore


def _unlike(x: Input, others: Sequence[Input]) -> Input:
    """Return the input x, scaled if one of the others has the same content.

    It is returned unchanged if no scale helps.
    """
    if not any(_same(x.a, other.a) for other in others):
        return x

    for power in range(1, _most_power(x.a) + 1):
        powers = np.full(len(x.a), power)
        scaled = _scaled(x.a, powers)
        if scaled is not None and not any(_same(scaled, other.a) for other in others):
            return x._replace(a=scaled, powers=powers)
    return x


def _same(x: Array, y: Array) -> bool:
    """Whether two inputs have the same content. Comparing the first rows nearly always decides."""
    if not bool((x[0, 0] == y[0, 0]).all()):
        return False
    return bool((x == y).all())


def _scaled(a: Array, powers: np.ndarray) -> Array | None:
    """Return the matrices multiplied by 4^powers, (b,); None if that rounds or overflows."""
    factors = arrays.from_numpy(4.0 ** powers[:, None, None], like=a)
    scaled = a * factors
    exact = (scaled / factors == a).all() and (abs(scaled) < float("inf")).all()
    return scaled if bool(exact) else None


def _most_power(a: Array, *, of_few: bool = False) -> int:
    if arrays.dtype_name(a) == "float16":
        return _MOST_POWER_OF_HALF
    return _MOST_POWER_OF_FEW if of_few else _MOST_POWER


def _unscaled(restore: Restore, powers: np.ndarray | None, power: int) -> Restore:
    """Return a function that undoes the permutation of an answer, and also its scaling.

    restore: undoes the permutation.
    powers: (b,), the matrices were multiplied by 4^powers; None if they were not scaled.
    power: an answer for 4^k A is 2^(power k) times that for A.
    """
    if powers is None or power == 0:
        return restore
    factors = 2.0 ** (-power * powers[:, None, None])

    def unscaled(x: Array, which: Sequence[int] | None = None) -> Array:
        picked = restore(x, which)
        of_picked = factors if which is None else factors[list(which)]
        return picked * arrays.from_numpy(of_picked, like=picked)

    return unscaled


def _with_signs(a: Array, g: Array, rng: np.random.Generator) -> Input:
    """Return an input: the matrices permuted, and their rows and columns times random signs."""
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
    # The columns of vectors (b, n, 1) and features (b, n, M) do not correspond to rows.
    return moved if x.shape[-1] != x.shape[-2] else arrays.take(moved, rows, 2)


def as_it_is(x: Array, which: Sequence[int] | None = None) -> Array:
    """Return the matrices `which`: the Restore of an input that was not moved."""
    return x if which is None else arrays.take(x, np.array(which), 0)
