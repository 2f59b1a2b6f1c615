"""Whether the array of a file is matrices that have a root, and what to say of them."""

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
# Distance between 1 and the next number.
_SPACING = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}
# A float64 file may hold what was computed in float32, where sums round a few times.
_LEAST_ROUNDING = 4 * _SPACING["float32"]
_PART_BYTES = 1 << 26  # of matrices that are factorised at once
_EIGENVALUE_COST = 20_000_000_000  # in n³ for each matrix: some seconds, and all of 64 by 64
_ROUNDINGS = 4  # by which two entries may differ that should be equal


class Loaded(NamedTuple):
    """The matrices of a file, checked, and how they were read. The arrays are read-only."""

    key: str  # the name of the array in its file; empty where it has none
    kind: Kinds
    dtype: str  # of the file
    samples: int  # behind each covariance of features; 0 for matrices
    asymmetry: float  # the largest difference that was averaged away, over the largest entry
    matrices: Floats  # (b, n, n), symmetric bit for bit
    cotangent: Floats | None  # (b, n, n), as the file has them


def checked(path: str, name: str, stored: Stored, beside: Stored | None, kind: FileKind) -> Loaded:
    """The matrices that an array holds or is the features of, and the cotangents beside it.

    Raises RegistryError with the file, the array, the first matrix that is wrong, and how far.
    """
    who = f"{path}[{name}]" if name else path
    values = _numbers(who, stored)
    found = _kind(who, values.shape, kind)
    if found == "features":
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
    return Loaded(name, found, stored.dtype, samples, asymmetry, matrices, cotangent)


def _numbers(who: str, stored: Stored) -> Floats:
    """(b, n, n), (b, n, M) or (N, n) in float64. Refuses what holds no finite real numbers."""
    values = stored.values
    if values.dtype.kind == "c":
        raise RegistryError(f"{who} is {stored.dtype}: complex matrices cannot be measured.")
    if values.dtype.kind not in "fiu":
        raise RegistryError(f"{who} is {stored.dtype}, which are no numbers.")
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise RegistryError(
            f"{who} has the shape {values.shape}: matrices are (b, n, n) or (n, n), features are "
            "(b, n, M), or (N, n) with samples as rows; none may be empty."
        )
    numbers = np.array(values, dtype=np.float64, order="C")

    bad = ~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1)
    if bad.any():
        what = "matrix" if numbers.ndim == 3 else "row"
        raise RegistryError(f"{who}: {what} {bad.argmax()} has entries that are NaN or infinite.")
    return numbers


def _kind(who: str, shape: tuple[int, ...], kind: FileKind) -> Kinds:
    square = shape[-1] == shape[-2]
    if kind == "matrices" and not square:
        raise RegistryError(f"{who} has the shape {shape}, which are no square matrices.")
    if kind == "auto":
        return "matrices" if square else "features"
    return kind


def _covariances(who: str, values: Floats) -> Floats:
    """Features -> (b, n, n): A = X Xᵀ / M with rows of mean 0, as `convfeat` and `wishart` have it.

    (b, n, M): n channels at M positions each. (N, n): N samples of n variables, one covariance.
    """
    samples = values.swapaxes(1, 2) if values.ndim == 3 else values[None]  # (b, M, n)
    if samples.shape[1] < 2:
        raise RegistryError(f"{who} has one sample: a covariance needs two.")
    return spectra.gram(samples)


def _symmetric(who: str, a: Floats, dtype: str, *, guessed: bool) -> tuple[Floats, float]:
    """(A + Aᵀ) / 2, and the largest |A - Aᵀ| over the largest |A| of its matrix."""
    apart = np.abs(a - a.swapaxes(1, 2)).max(axis=(1, 2))
    largest = np.abs(a).max(axis=(1, 2))
    asymmetry = apart / np.where(largest, largest, 1.0)
    limit = _ROUNDINGS * _rounding(dtype)

    if (wrong := asymmetry > limit).any():
        first = int(wrong.argmax())
        hint = "Symmetrise it."
        if guessed:
            hint = "If these are features, say so by kind=features, or --kind features."
        raise RegistryError(
            f"{who}: matrix {first} is not symmetric: entries that should be equal differ by "
            f"{asymmetry[first]:.1e} of the largest; rounding explains {limit:.0e}. {hint}"
        )
    return (a + a.swapaxes(1, 2)) * 0.5, float(asymmetry.max())


def _cotangent(path: str, stored: Stored, shape: tuple[int, ...]) -> Floats:
    """The cotangents beside the matrices, (b, n, n). Only their symmetric parts will be used."""
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
    """How far, relatively, an entry may be off by rounding."""
    return max(_SPACING.get(dtype, 0.0), _LEAST_ROUNDING)


def refuse_indefinite(path: str, a: Floats, dtype: str) -> None:
    """Raise RegistryError for a matrix that is indefinite beyond rounding; a: (b, n, n).

    A Cholesky factorisation that succeeds proves that a matrix is not, in a fraction of the time
    that eigenvalues take; these decide where it fails.
    """
    n = a.shape[-1]
    share = math.sqrt(n) * _rounding(dtype)  # of the largest eigenvalue
    step = max(1, _PART_BYTES // (8 * n * n))

    for start in range(0, len(a), step):
        part = a[start : start + step]
        # No diagonal entry is larger than the largest eigenvalue, so the shift is within bounds.
        shift = share * np.abs(np.diagonal(part, axis1=1, axis2=2)).max(axis=1)
        try:
            np.linalg.cholesky(part + shift[:, None, None] * np.eye(n))
        except np.linalg.LinAlgError:
            _refuse_negative(path, start, np.linalg.eigvalsh(part), share)


def _refuse_negative(path: str, start: int, w: NDArray[Any], share: float) -> None:
    """The same from eigenvalues; w: (c, n), ascending, of the matrices from `start` on."""
    limit = share * np.abs(w).max(axis=1)
    if (wrong := w[:, 0] < -limit).any():
        first = int(wrong.argmax())
        raise RegistryError(
            f"{path}: matrix {start + first} is indefinite: its eigenvalues go from "
            f"{w[first, 0]:.3g} to {w[first, -1]:.3g}, and rounding explains {-limit[first]:.0e}. "
            "A square root needs eigenvalues of 0 or more."
        )


def summary(found: Loaded, batches: tuple[int, ...], precisions: tuple[str, ...] = ()) -> str:
    """`128 matrices of 64 × 64, float32, condition about 3e4 (median), rank 64; ...`.

    precisions: in which the matrices are measured. It is said if one of them is narrower than what
    the file holds, and which rank the matrices have there.
    """
    count, n, _ = found.matrices.shape
    looked_at = np.linspace(0, count - 1, min(count, max(1, _EIGENVALUE_COST // n**3)), dtype=int)
    w = np.linalg.eigvalsh(found.matrices[looked_at])  # (c, n), ascending
    rank = _ranks(w, _SPACING.get(found.dtype, _SPACING["float64"]))

    noun = "matrix" if count == 1 else "matrices"
    facts = [f"{count} {noun} of {n} × {n}", found.dtype]
    if found.samples:
        facts.insert(1, f"covariance of {found.samples} samples each")
    if (rank == n).all():  # a singular matrix has none
        some = f" of {len(w)}" if len(w) < count else ""
        middle = "" if count == 1 else f" (median{some})"
        facts.append(f"condition about {_about(np.median(w[:, -1] / w[:, 0]))}{middle}")
    facts.append(_spoken_rank(rank))
    if found.cotangent is not None:
        facts.append("with cotangents")

    said = [", ".join(facts)]
    if found.asymmetry:
        said.append(f"asymmetry {_about(found.asymmetry)} was averaged away")
    if (most := max(batches, default=0)) > count:
        said.append(f"a batch of {most} takes them again from the first after {count}")
    said += _narrowed(found, w, precisions)
    return "; ".join(said)


def _ranks(w: NDArray[Any], spacing: float) -> NDArray[np.int64]:
    """The rank of each matrix in numbers of this spacing. w: (c, n), eigenvalues, ascending."""
    n = w.shape[-1]
    # Below this share of the largest, an eigenvalue is what rounding leaves of a zero.
    least = math.sqrt(n) * spacing
    ranks: NDArray[np.int64] = (w > least * w[:, -1:]).sum(axis=1)
    return ranks


def _spoken_rank(ranks: NDArray[np.int64]) -> str:
    """`rank 64`, or `rank 28 to 31`."""
    low, high = ranks.min(), ranks.max()
    return f"rank {low}" if low == high else f"rank {low} to {high}"


def _narrowed(found: Loaded, w: NDArray[Any], precisions: tuple[str, ...]) -> list[str]:
    """A clause for each precision that is narrower than the file's. w: as for `_ranks`."""
    stored = _SPACING.get(found.dtype, _SPACING["float64"])
    said = []
    for precision in dict.fromkeys(precisions):
        # Of shorter precisions the products alone are short, and so is tf32.
        spacing = max(_SPACING.get(precision, 0.0), _SPACING["float32"])
        if precision == "float64" or spacing <= stored:
            continue
        ranks = _ranks(w, _SPACING["float32"])
        lost = "" if (ranks == _ranks(w, stored)).all() else f" (there {_spoken_rank(ranks)})"
        said.append(
            f"measured in {precision}{lost}, not {found.dtype}: --set precision={found.dtype} "
            "keeps all digits"
        )
    return said


def _about(value: float) -> str:
    """One digit: 5, 300, 3e4, 4e-9."""
    digits, _, exponent = f"{value:.0e}".partition("e")
    return f"{float(f'{value:.0e}'):g}" if 0 <= int(exponent) < 4 else f"{digits}e{int(exponent)}"
