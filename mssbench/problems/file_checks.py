"""Checks that an array from a file holds matrices with a root, and a one-line summary of them."""

import math
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mssbench.errors import RegistryError
from mssbench.problems import spectra
from mssbench.problems.file_formats import COTANGENT, Stored
from mssbench.problems.rng import Floats

FileKind: TypeAlias = Literal["auto", "matrices", "features"]
Kinds: TypeAlias = Literal["matrices", "features"]
# The distance between 1 and the next number of each dtype.
_SPACING = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
# The rounding errors to expect at least: a float64 file may hold matrices that were computed in
# float32, where sums round several times.
_LEAST_ROUNDING = 4 * _SPACING["float32"]
# Bytes of matrices that are factorised at once, which bounds the memory for copies.
_PART_BYTES = 1 << 26
# The limit of n³ times the number of matrices whose eigenvalues are computed for the summary. It
# takes some seconds, and covers 76000 matrices of 64 by 64.
_EIGENVALUE_COST = 20_000_000_000
_ROUNDINGS = 4  # units of rounding by which two entries that should be equal may differ


class Loaded(NamedTuple):
    """The checked matrices of a file, and how they were read. The arrays are read-only."""

    key: str  # the name of the array in its file; empty if it has none
    kind: Kinds
    dtype: str  # the dtype in the file
    samples: int  # samples of each covariance of features; 0 for matrices
    asymmetry: float  # the largest |A - Aᵀ| that was averaged away, over the largest entry
    matrices: Floats  # (b, n, n), symmetric bit for bit
    cotangent: Floats | None  # (b, n, n), as the file has them


def checked(path: str, name: str, stored: Stored, beside: Stored | None, kind: FileKind) -> Loaded:
    """Return the checked matrices of an array, or covariances of its features, with cotangents.

    stored: the array; beside: the array of cotangents in the same file, if there is one.
    Raises RegistryError for an array of another shape or type, with entries that are not finite, or
    with a matrix that is not symmetric. The message names the file, the array, and the first matrix
    that is wrong.
    """
    who = f"{path}[{name}]" if name else path
    values = _numbers(who, stored)

    actual_kind = _kind(who, values.shape, kind)
    if actual_kind == "features":
        samples = values.shape[-1] if values.ndim == 3 else len(values)
        matrices, asymmetry = _covariances(who, values), 0.0
    else:
        samples = 0
        values = values.reshape(-1, *values.shape[-2:])
        matrices, asymmetry = _symmetric(who, values, stored.dtype, guessed=kind == "auto")

    cotangent = None if beside is None else _cotangent(path, beside, matrices.shape)
    for array in (matrices, cotangent):
        if array is not None:
            array.flags.writeable = False
    return Loaded(name, actual_kind, stored.dtype, samples, asymmetry, matrices, cotangent)


def _numbers(who: str, stored: Stored) -> Floats:
    """Return the array in float64. Raises RegistryError unless its numbers are real and finite.

    Its shape must be (b, n, n) or (n, n) for matrices, and (b, n, M) or (N, n) for features, where
    M and N are numbers of samples.
    """
    values = stored.values
    if values.dtype.kind == "c":
        raise RegistryError(f"{who} is {stored.dtype}: complex matrices cannot be measured.")
    if values.dtype.kind not in "fiu":
        raise RegistryError(f"{who} is {stored.dtype}, which is not a type of numbers.")
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise RegistryError(
            f"{who} has the shape {values.shape}: matrices are (b, n, n) or (n, n), features are "
            "(b, n, M), or (N, n) with samples as rows; none may be empty."
        )
    numbers = np.array(values, dtype=np.float64, order="C")

    bad = ~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1)
    if bad.any():
        noun = "matrix" if numbers.ndim == 3 else "row"
        raise RegistryError(f"{who}: {noun} {bad.argmax()} has entries that are NaN or infinite.")
    return numbers


def _kind(who: str, shape: tuple[int, ...], kind: FileKind) -> Kinds:
    """Return whether an array holds matrices or features: for `auto`, matrices if it is square.

    Raises RegistryError if the user called it matrices and it is not square.
    """
    square = shape[-1] == shape[-2]
    if kind == "matrices" and not square:
        raise RegistryError(f"{who} has the shape {shape}, which is not that of square matrices.")
    if kind == "auto":
        return "matrices" if square else "features"
    return kind


def _covariances(who: str, values: Floats) -> Floats:
    """Return the covariances of features, (b, n, n): A = X Xᵀ / M after centring, as in `wishart`.

    values: (b, n, M), n channels at M positions each, or (N, n), N samples of n variables, which
    give one covariance.
    """
    samples = values.swapaxes(1, 2) if values.ndim == 3 else values[None]  # (b, M, n)
    if samples.shape[1] < 2:
        raise RegistryError(f"{who} has one sample: a covariance needs two.")
    return spectra.gram(samples)


def _symmetric(who: str, a: Floats, dtype: str, *, guessed: bool) -> tuple[Floats, float]:
    """Return (A + Aᵀ) / 2, and the largest |A - Aᵀ| relative to the largest entry of its matrix.

    Raises RegistryError if the asymmetry exceeds rounding. guessed: whether the user has not said
    that these are matrices, which adds a hint.
    """
    apart = np.abs(a - a.swapaxes(1, 2)).max(axis=(1, 2))
    largest = np.abs(a).max(axis=(1, 2))
    asymmetry = apart / np.where(largest, largest, 1.0)
    limit = _ROUNDINGS * _rounding(dtype)

    if (wrong := asymmetry > limit).any():
        first = int(wrong.argmax())
        hint = "Symmetrise it."
        if guessed:
            hint = "If these are features, give kind=features, or --kind features."
        raise RegistryError(
            f"{who}: matrix {first} is not symmetric: entries that should be equal differ by "
            f"{asymmetry[first]:.1e} of the largest; rounding explains {limit:.0e}. {hint}"
        )

    return (a + a.swapaxes(1, 2)) * 0.5, float(asymmetry.max())


def _cotangent(path: str, stored: Stored, shape: tuple[int, ...]) -> Floats:
    """Return the cotangents in the file, (b, n, n), of which only the symmetric parts are used.

    shape: that of the matrices. Raises RegistryError for cotangents of another shape.
    """
    who = f"{path}[{COTANGENT}]"
    g = _numbers(who, stored)
    g = g.reshape(-1, *g.shape[-2:])
    if g.shape != shape:
        raise RegistryError(f"{who} has the shape {g.shape}, but the matrices {shape}.")

    zero = ~(g + g.swapaxes(1, 2)).any(axis=(1, 2))
    if zero.any():
        raise RegistryError(f"{who}: the symmetric part of cotangent {zero.argmax()} is zero.")
    return g


def _rounding(dtype: str) -> float:
    """Return the relative rounding error to expect of an entry of this dtype."""
    return max(_SPACING.get(dtype, 0.0), _LEAST_ROUNDING)


def refuse_indefinite(path: str, a: Floats, dtype: str) -> None:
    """Raise RegistryError for a matrix that is indefinite beyond rounding; a: (b, n, n).

    A successful Cholesky factorisation of the shifted matrix shows that no matrix is indefinite, in
    a fraction of the time that eigenvalues take. If the factorisation fails, eigenvalues are
    computed.
    """
    n = a.shape[-1]
    share = math.sqrt(n) * _rounding(dtype)  # the tolerance relative to the largest eigenvalue
    step = max(1, _PART_BYTES // (8 * n * n))

    for start in range(0, len(a), step):
        part = a[start : start + step]
        # Diagonal entries do not exceed the largest eigenvalue, nor the shift the tolerance.
        shift = share * np.abs(np.diagonal(part, axis1=1, axis2=2)).max(axis=1)
        try:
            np.linalg.cholesky(part + shift[:, None, None] * np.eye(n))
        except np.linalg.LinAlgError:
            _refuse_negative(path, start, np.linalg.eigvalsh(part), share)


def _refuse_negative(path: str, start: int, w: NDArray[Any], share: float) -> None:
    """Raise RegistryError if an eigenvalue is negative beyond rounding.

    w: (c, n), ascending, the eigenvalues of c matrices from index `start` on.
    """
    limit = share * np.abs(w).max(axis=1)
    if (wrong := w[:, 0] < -limit).any():
        first = int(wrong.argmax())
        raise RegistryError(
            f"{path}: matrix {start + first} is indefinite: its eigenvalues go from "
            f"{w[first, 0]:.3g} to {w[first, -1]:.3g}, and rounding explains {-limit[first]:.0e}. "
            "A square root needs eigenvalues of 0 or more."
        )


def summary(found: Loaded, batches: tuple[int, ...], precisions: tuple[str, ...] = ()) -> str:
    """Return one line: `128 matrices of 64 × 64, float32, condition about 3e4 (median), rank 64`.

    batches, precisions: those in which the matrices are to be measured. Clauses are added if a
    batch is larger than the file, or a precision narrower, with the rank in that precision.
    """
    count, n, _ = found.matrices.shape
    sampled = np.linspace(0, count - 1, min(count, max(1, _EIGENVALUE_COST // n**3)), dtype=int)
    w = np.linalg.eigvalsh(found.matrices[sampled])  # (c, n), ascending
    rank = _ranks(w, _SPACING.get(found.dtype, _SPACING["float64"]))

    noun = "matrix" if count == 1 else "matrices"
    facts = [f"{count} {noun} of {n} × {n}", found.dtype]
    if found.samples:
        facts.insert(1, f"covariance of {found.samples} samples each")
    if (rank == n).all():  # singular matrices have no finite condition
        some = f" of {len(w)}" if len(w) < count else ""
        middle = "" if count == 1 else f" (median{some})"
        facts.append(f"condition about {_about(np.median(w[:, -1] / w[:, 0]))}{middle}")
    facts.append(_spoken_rank(rank))
    if found.cotangent is not None:
        facts.append("with cotangents")

    clauses = [", ".join(facts)]
    if found.asymmetry:
        clauses.append(f"asymmetry {_about(found.asymmetry)} was averaged away")
    if (most := max(batches, default=0)) > count:
        clauses.append(f"a batch of {most} starts again from the first after {count}")
    clauses += _narrowed(found, w, precisions)
    return "; ".join(clauses)


def _ranks(w: NDArray[Any], spacing: float) -> NDArray[np.int64]:
    """Return the rank of each matrix in a dtype of this spacing. w: (c, n), ascending."""
    n = w.shape[-1]
    # Relative to the largest eigenvalue; smaller ones are rounding errors of zeros.
    least = math.sqrt(n) * spacing
    ranks: NDArray[np.int64] = (w > least * w[:, -1:]).sum(axis=1)
    return ranks


def _spoken_rank(ranks: NDArray[np.int64]) -> str:
    """Return `rank 64`, or `rank 28 to 31`."""
    low, high = ranks.min(), ranks.max()
    return f"rank {low}" if low == high else f"rank {low} to {high}"


def _narrowed(loaded: Loaded, w: NDArray[Any], precisions: tuple[str, ...]) -> list[str]:
    """Return a clause for each precision with fewer digits than the file's. w: as for `_ranks`."""
    stored = _SPACING.get(loaded.dtype, _SPACING["float64"])
    clauses = []

    for precision in dict.fromkeys(precisions):
        # tf32 has no spacing here: it stores float32, and only its products are shorter.
        spacing = max(_SPACING.get(precision, 0.0), _SPACING["float32"])
        if precision == "float64" or spacing <= stored:
            continue
        ranks = _ranks(w, _SPACING["float32"])
        lost = "" if (ranks == _ranks(w, stored)).all() else f" (there {_spoken_rank(ranks)})"
        wide_enough = loaded.dtype if loaded.dtype in _SPACING else "float64"  # integers, say
        clauses.append(
            f"measured in {precision}{lost}, not {loaded.dtype}: --set precision={wide_enough} "
            "keeps all digits"
        )
    return clauses


def _about(value: float) -> str:
    """Format a number with one digit: 5, 300, 3e4, 4e-9."""
    digits, _, exponent = f"{value:.0e}".partition("e")
    return f"{float(f'{value:.0e}'):g}" if 0 <= int(exponent) < 4 else f"{digits}e{int(exponent)}"
