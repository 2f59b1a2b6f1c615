"""What the methods are fed: symmetric positive semidefinite matrices, by name.

`make("wishart(ratio=0.766)", size=64, batch=32, seed=0)` gives the same bits everywhere. The
float64 matrices it returns are the master; `cast` rounds them to a precision, and the problem that
a method solves is the cast one.
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mssbench.errors import NotInstalled, RegistryError, Unsupported
from mssbench.problems.casting import cast
from mssbench.problems.generator import Bounds, Generator, Parameter
from mssbench.problems.registry import REGISTRIES, register_modifier, register_problem
from mssbench.problems.rng import Floats, Streams
from mssbench.problems.spectra import sequential_sum
from mssbench.problems.text import Call, parse

__all__ = [
    "REGISTRIES",
    "Bounds",
    "Generator",
    "Parameter",
    "Problem",
    "Streams",
    "canonical",
    "cast",
    "check_size",
    "describe",
    "functions_of",
    "generators",
    "lacked_its_source",
    "make",
    "modifiers",
    "register_modifier",
    "register_problem",
]


class Problem(NamedTuple):
    """A batch of matrices and the cotangents of their roots. The arrays are read-only."""

    name: str  # canonical
    size: int
    batch: int
    seed: int
    master: Floats  # (b, n, n), symmetric bit for bit
    cotangent: Floats  # (b, n, n), symmetric, each of Frobenius norm 1
    digest: str  # first 16 hex digits of the SHA-256 of master


def generators() -> dict[str, Generator]:
    """Return every problem registered so far, by name."""
    return REGISTRIES["problem"].known()


def modifiers() -> dict[str, Generator]:
    """Return every modifier registered so far, by name."""
    return REGISTRIES["modifier"].known()


def canonical(text: str) -> str:
    """Return the one spelling of a problem, with every parameter: `wishart(ratio=0.766)`.

    That of a file has a digest of its contents, which is filled in where the text has none.
    A problem of a plug-in that cannot be imported keeps the spelling it has, as its parameters are
    not known; its cells become rows that say why.
    Raises RegistryError for an unknown name or parameter, a value out of range, malformed text.
    """
    try:
        calls = [call._replace(given=call.generator.complete(call.given)) for call in parse(text)]
    except NotInstalled:
        return text.strip()
    return "|".join(call.spelling() for call in calls)


def check_size(text: str, size: int) -> str | None:
    """Why the problem has no matrices of this size; None if it has."""
    if size < 1:
        return f"size {size} is not at least 1"
    base = parse(text)[0]
    return base.generator.check_size(size, base.given)


def describe(text: str, batches: Iterable[int], precisions: Iterable[str] = ()) -> str | None:
    """What was read for a problem whose matrices come from outside; None for any other.

    batches: the batch sizes it is used with, which may be more than there are matrices.
    precisions: those in which it is measured, which may be narrower than what was stored.
    """
    base = parse(text)[0]
    outside = base.generator.outside
    if outside is None:
        return None
    return outside.describe(tuple(batches), tuple(precisions), **base.given)


def lacked_its_source(text: str, reason: str) -> bool:
    """Whether a problem was refused because what its matrices come from was gone or had changed.

    reason: that of the rows. False for a problem whose matrices do not come from outside.
    """
    base = parse(text)[0]
    outside = base.generator.outside
    return outside is not None and outside.lacked(reason, **base.given)


def functions_of(text: str) -> list[Callable[..., Floats]]:
    """Return the functions that a problem is made by: its generator, then its modifiers.

    Raises NotInstalled for those of a plug-in that cannot be imported.
    """
    return [call.generator.call for call in parse(text)]


def make(text: str, size: int, batch: int, seed: int) -> Problem:
    """The problem `text`; a batch is a prefix of every larger batch with the same seed.

    Raises RegistryError for a bad text, Unsupported where there is no such size, NotInstalled
    where an optional package is missing.
    """
    return _make(canonical(text), int(size), int(batch), int(seed))


@lru_cache(maxsize=4)  # a sweep asks for one problem many times in a row, and they are large
def _make(name: str, size: int, batch: int, seed: int) -> Problem:
    base, *changes = parse(name)
    reason = check_size(name, size)
    if reason or batch < 1:
        raise Unsupported(reason or f"batch {batch} is not at least 1")
    drawn = base.spelling()  # a modified problem starts from the very same matrices
    master = base.generator.call(size, Streams(drawn, size, range(batch), seed), **base.given)
    for change in changes:
        drawn += f"|{change.spelling()}"
        rng = Streams(drawn, size, range(batch), seed)
        master = change.generator.call(master, rng, **change.given)
    master = _checked(name, master, (batch, size, size))
    cotangent = _cotangent(base, size, batch, seed)
    master.flags.writeable = cotangent.flags.writeable = False
    digest = hashlib.sha256(master.astype("<f8", copy=False).tobytes()).hexdigest()[:16]
    return Problem(name, size, batch, seed, master, cotangent, digest)


def _cotangent(base: Call, n: int, batch: int, seed: int) -> Floats:
    """(b, n, n): (E + Eᵀ) / 2, divided by its Frobenius norm.

    E: the cotangents that come with the matrices, if any do, else normals.
    """
    rng = Streams(f"cotangent of {base.spelling()}", n, range(batch), seed)
    outside = base.generator.outside
    e = outside.cotangent(n, rng, **base.given) if outside else None
    if e is None:
        e = rng.normal(n, n)
    g = (e + e.swapaxes(1, 2)) / 2
    norm = np.sqrt(sequential_sum((g * g).reshape(len(g), -1)))
    cotangent: Floats = g / norm[:, None, None]
    return cotangent


def _checked(name: str, master: Floats, shape: tuple[int, int, int]) -> Floats:
    """`master`, if it keeps the promise that every generator makes."""
    if not isinstance(master, np.ndarray):
        raise RegistryError(
            f"problem {name!r} returned {type(master).__name__}, not a NumPy array {shape}."
        )
    if master.shape != shape or master.dtype != np.float64:
        raise RegistryError(
            f"problem {name!r} returned {master.dtype} {master.shape}, not float64 {shape}."
        )
    if not np.isfinite(master).all() or not np.array_equal(master, master.swapaxes(1, 2)):
        raise RegistryError(f"problem {name!r} returned a matrix that is not finite and symmetric.")
    return np.ascontiguousarray(master)
