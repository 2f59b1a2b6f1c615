"""Random numbers with the same bits on every machine, with any thread count and NumPy version.

They use only SHA-256, the raw 64-bit words of PCG64, whose stream NumPy guarantees not to change,
and integer arithmetic. NumPy does not guarantee this for its `normal` and `uniform`, and a
logarithm or cosine would depend on the rounding of the mathematical library.
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
    """Independent random streams, one per matrix of a batch; draws have the batch as leading axis.

    The key of matrix i contains i but not the batch size, so that a batch is a prefix of every
    larger one. The numbers depend on the order of the draws, which a generator may choose.
    """

    def __init__(self, name: str, size: int, indices: Sequence[int], seed: int) -> None:
        self.indices = tuple(int(i) for i in indices)
        self._words = [_stream((str(name), int(size), i, int(seed))) for i in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def uniform(self, *shape: int) -> Floats:
        """Return uniform numbers in [0, 1), multiples of 2^-53, of shape (b, *shape)."""
        words = self._raw(*shape) >> np.uint64(11)
        return words.astype(np.float64) * 2.0**-53

    def normal(self, *shape: int) -> Floats:
        """Return approximately normal numbers of shape (b, *shape).

        They are sums of twelve uniform numbers minus six (Irwin and Hall), with mean 0, variance 1
        and tails that end at ±6. Each value is a multiple of 2^-49.
        """
        out = np.empty((len(self), *shape))
        for row, words in zip(out, self._words, strict=True):
            # One matrix at a time, because the twelvefold draw of a whole batch exceeds the cache.
            raw = words.random_raw(_SUMMANDS * row.size).reshape(_SUMMANDS, *shape)
            raw >>= np.uint64(64 - _BITS)
            row[...] = np.add.reduce(raw, axis=0).astype(np.float64)
        out *= 2.0**-_BITS
        out -= _SUMMANDS / 2
        return out

    def integers(self, high: int, *shape: int) -> Ints:
        """Return integers from 0 to high - 1 of shape (b, *shape); `high` must be below 2^32.

        The relative bias of their probabilities is at most high / 2^32.
        """
        words = self._raw(*shape) >> np.uint64(32)
        return (words * np.uint64(high) >> np.uint64(32)).astype(np.int64)

    def subset(self, count: int, total: int) -> Ints:
        """Return distinct integers below `total`, (b, count), by a partial Fisher–Yates shuffle."""
        pool = np.tile(np.arange(total), (len(self), 1))
        rows = np.arange(len(self))
        for k in range(count):
            chosen = k + self.integers(total - k)
            pool[rows, k], pool[rows, chosen] = pool[rows, chosen], pool[rows, k].copy()
        return pool[:, :count]

    def _raw(self, *shape: int) -> NDArray[np.uint64]:
        count = int(np.prod(shape, dtype=np.int64))
        words = [stream.random_raw(count).reshape(shape) for stream in self._words]
        return np.stack(words) if words else np.empty((0, *shape), dtype=np.uint64)


def _stream(key: tuple[str, int, int, int]) -> np.random.PCG64:
    # Only plain Python values, because NumPy scalars print differently in different versions.
    return np.random.PCG64(int(hashlib.sha256(str(key).encode()).hexdigest(), 16))
