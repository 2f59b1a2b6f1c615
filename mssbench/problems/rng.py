"""Random numbers whose bits are the same on every machine, thread count and NumPy version.

Only three things are used: SHA-256, the raw 64-bit words of PCG64, whose stream NumPy promises
not to change, and integer arithmetic. NumPy's own `normal` and `uniform` carry no such promise,
and every logarithm or cosine would bring in a mathematical library that rounds in its own way.
"""

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
# Twelve integers below 2^49 sum to less than 2^53, so the sum is exact as a float64.
_SUMMANDS = 12
_BITS = 49


class Streams:
    """One independent stream per matrix of a batch; a draw has the batch as leading axis.

    The key of matrix i holds i but not the batch size, so a batch is a prefix of a larger one.
    Within a stream the order of draws matters, and a generator is free to choose it.
    """

    def __init__(self, name: str, size: int, indices: Sequence[int], seed: int) -> None:
        self.indices = tuple(int(i) for i in indices)
        self._words = [_stream((str(name), int(size), i, int(seed))) for i in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def uniform(self, *shape: int) -> Floats:
        """(b, *shape), multiples of 2^-53 in [0, 1)."""
        words = self._raw(*shape) >> np.uint64(11)
        return words.astype(np.float64) * 2.0**-53

    def normal(self, *shape: int) -> Floats:
        """(b, *shape), nearly normal: the sum of twelve uniforms minus six (Irwin and Hall).

        Mean 0 and variance 1 exactly, tails that end at 6, each value a multiple of 2^-49.
        """
        out = np.empty((len(self), *shape))
        for row, words in zip(out, self._words, strict=True):
            # Matrix by matrix: the twelvefold draw of a whole batch would not fit the cache.
            raw = words.random_raw(_SUMMANDS * row.size).reshape(_SUMMANDS, *shape)
            raw >>= np.uint64(64 - _BITS)
            row[...] = np.add.reduce(raw, axis=0).astype(np.float64)
        out *= 2.0**-_BITS
        out -= _SUMMANDS / 2
        return out

    def integers(self, high: int, *shape: int) -> Ints:
        """(b, *shape), from 0 to high - 1; `high` below 2^32. The bias is at most high / 2^32."""
        words = self._raw(*shape) >> np.uint64(32)
        return (words * np.uint64(high) >> np.uint64(32)).astype(np.int64)

    def subset(self, count: int, total: int) -> Ints:
        """(b, count) different integers below `total`: the start of a Fisher–Yates shuffle."""
        pool = np.tile(np.arange(total), (len(self), 1))
        each = np.arange(len(self))
        for k in range(count):
            chosen = k + self.integers(total - k)
            pool[each, k], pool[each, chosen] = pool[each, chosen], pool[each, k].copy()
        return pool[:, :count]

    def _raw(self, *shape: int) -> NDArray[np.uint64]:
        count = int(np.prod(shape, dtype=np.int64))
        words = [stream.random_raw(count).reshape(shape) for stream in self._words]
        return np.stack(words) if words else np.empty((0, *shape), dtype=np.uint64)


def _stream(key: tuple[str, int, int, int]) -> np.random.PCG64:
    # Plain Python values only: NumPy scalars print differently from one version to the next.
    return np.random.PCG64(int(hashlib.sha256(str(key).encode()).hexdigest(), 16))
