"""The problem `file(path=cov.npy)`: matrices, or features, from a user's file.

The text of the problem contains a digest of the file's contents, so that rows of two files are
never mixed up even if one has replaced the other under the same path. If a text has no digest,
`canonical` adds that of the present contents. A cell is refused if the file no longer has the
digest of the text.

A relative path is relative to the folder in which mssbench runs, where its workers run too. The
path is kept as given, so that a suite and its rows also apply in another person's folder.
"""

import hashlib
import re
import stat
import time
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from mssbench.errors import NotInstalled, RegistryError, Unsupported, nearest
from mssbench.problems.file_checks import FileKind, Loaded, checked, refuse_indefinite, summary
from mssbench.problems.file_formats import READERS, read
from mssbench.problems.generator import OutsideSource
from mssbench.problems.registry import register_problem
from mssbench.problems.rng import Floats, Streams
from mssbench.problems.text import quoted

_DIGEST = re.compile(r"[0-9a-f]{16}")
# The resolution of time stamps may be as coarse as 2 s (FAT). The digest of a file changed more
# recently is not cached, since another change might not alter its time stamp.
_SETTLED_NS = 2_000_000_000
# The beginnings of the reasons why a file cannot be used that a user can correct, see `_lacked`.
_NO_FILE = "there is no file {!r}"
_UNREADABLE = "{}: cannot be read:"
_CHANGED = "{} has changed:"


def digest_of(path: str) -> str:
    """Return 16 hex digits over the contents of a file. Raises RegistryError if unreadable."""
    try:
        state = Path(path).stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(state.st_mode):  # reading a pipe or /dev/zero would never end
        raise RegistryError(f"{_UNREADABLE.format(path)} it is not a regular file.")

    stamp = (state.st_mtime_ns, state.st_size, state.st_ino)
    young = time.time_ns() - state.st_mtime_ns < _SETTLED_NS
    return _digest.__wrapped__(path, stamp) if young else _digest(path, stamp)


@lru_cache(maxsize=64)
def _digest(path: str, stamp: tuple[int, ...]) -> str:
    del stamp  # used only as a part of the cache key
    return _hash(_bytes(path))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> RegistryError:
    if not isinstance(error, FileNotFoundError):
        return RegistryError(f"{_UNREADABLE.format(path)} {error.strerror or error}.")

    where = "" if Path(path).is_absolute() else f" in {Path.cwd()}"
    folder = Path(path).parent
    beside = [p.name for p in folder.iterdir() if p.suffix in READERS] if folder.is_dir() else []
    near = nearest(Path(path).name, beside)
    hint = f" Did you mean {near!r}?" if near else ""
    return RegistryError(f"{_NO_FILE.format(path)}{where}.{hint}")


def load(path: str, key: str, kind: FileKind, digest: str) -> Loaded:
    """Return the checked matrices of a file with this digest; "" accepts any contents.

    Raises Unsupported for a file with another digest, RegistryError for one that cannot be used,
    NotInstalled if reading it needs a package that is missing.
    """
    now = digest_of(path)
    if digest and digest != now:
        raise _changed(path, digest, now)
    return _loaded(path, key, kind, now)


def _changed(path: str, digest: str, now: str) -> Unsupported:
    return Unsupported(
        f"{_CHANGED.format(path)} its digest is {now}, not {digest}. "
        "Leave the digest out to measure its present matrices"
    )


@lru_cache(maxsize=2)  # few, because the arrays may be large
def _loaded(path: str, key: str, kind: FileKind, digest: str) -> Loaded:
    data = _bytes(path)
    if (now := _hash(data)) != digest:
        raise _changed(path, digest, now)
    name, stored, cotangent = read(path, data, key)
    return checked(path, name, stored, cotangent, kind)


@lru_cache(maxsize=64)
def _check_definite(path: str, key: str, kind: FileKind, digest: str) -> None:
    loaded = load(path, key, kind, digest)
    refuse_indefinite(path, loaded.matrices, loaded.dtype)


def problem_of(path: str, key: str = "", kind: FileKind = "auto") -> tuple[str, int, int]:
    """Return the text that names a file as a problem, the size of its matrices, and their number.

    Raises RegistryError for a file that cannot be used, NotInstalled if a package is missing.
    """
    given = _complete(path, key, kind, "")
    count, size, _ = load(**given).matrices.shape
    text = ", ".join(f"{name}={quoted(value)}" for name, value in given.items() if value)
    return f"file({text})", size, count


def _complete(path: str, key: str, kind: FileKind, digest: str) -> dict[str, Any]:
    """Return the parameters with key, kind and digest filled in from the file.

    If the digest is given and the file is missing or has changed, the parameters are returned as
    they are. A given digest also means that the matrices were found to be positive semidefinite
    when it was filled in, so that this is not checked again.
    """
    if not path:
        raise RegistryError("problem 'file' needs a path: file(path=cov.npy).")
    if not path.isprintable() or "\ufffd" in path:
        raise RegistryError(f"problem 'file': path = {path!r} has characters that cannot be shown.")
    if digest and not _DIGEST.fullmatch(digest):
        raise RegistryError(f"problem 'file': digest = {digest!r} is not 16 hex digits.")

    path = str(PurePath(path))
    given: dict[str, Any] = {"path": path, "key": key, "kind": kind, "digest": digest}

    try:
        given["digest"] = digest or digest_of(path)
        loaded = load(path, key, kind, given["digest"])
    except (RegistryError, Unsupported) as error:
        if digest:
            return given
        raise RegistryError(str(error)) from None  # Unsupported if it changes while it is read
    except NotInstalled:  # the rows of its cells will give this reason
        return given

    if not digest:
        _check_definite(path, loaded.key, loaded.kind, given["digest"])
    return given | {"key": loaded.key, "kind": loaded.kind}


def _fits(n: int, path: str, key: str, kind: FileKind, digest: str) -> str | None:
    try:
        size = load(path, key, kind, digest).matrices.shape[-1]
    except (RegistryError, Unsupported) as error:
        return str(error).removesuffix(".")
    return None if n == size else f"{path} holds matrices of size {size} only"


def _given_cotangent(
    n: int, rng: Streams, path: str, key: str, kind: FileKind, digest: str
) -> Floats | None:
    del n
    cotangent = load(path, key, kind, digest).cotangent
    return None if cotangent is None else _taken(cotangent, rng)


def _taken(stored: Floats, rng: Streams) -> Floats:
    """Return the matrices of a batch; larger batches start again from the first matrix."""
    return stored[[index % len(stored) for index in rng.indices]]


def _describe(
    batches: tuple[int, ...],
    precisions: tuple[str, ...],
    path: str,
    key: str,
    kind: FileKind,
    digest: str,
) -> str:
    try:
        loaded = load(path, key, kind, digest)
    except (RegistryError, Unsupported, NotInstalled) as error:
        return str(error)
    return f"{path}: {summary(loaded, batches, precisions)}"


def _lacked(reason: str, path: str, key: str, kind: FileKind, digest: str) -> bool:
    """Whether the text `reason` of a row says that the file is missing, unreadable or has changed.

    reason: as in a row, on one line.
    """
    del key, kind, digest
    starts = (_NO_FILE.format(path), _UNREADABLE.format(path), _CHANGED.format(path))
    return reason.startswith(tuple(" ".join(start.split()) for start in starts))


@register_problem(
    cite="a file of your own",
    fits=_fits,
    sizes="that of the file",
    outside=OutsideSource(_complete, _given_cotangent, _describe, _lacked),
)
def file(
    n: int,
    rng: Streams,
    *,
    path: str = "",
    key: str = "",
    kind: FileKind = "auto",
    digest: str = "",
) -> Floats:
    """Matrices of your own, or the covariances of your own features, read from a file.

    A = matrix (index mod number) of the array `key` in a .npy, .npz, .pt, .safetensors, .mat, .csv
    or .h5 file. The array holds matrices (b, n, n) or (n, n), or features (b, n, M) or (N, n),
    whose covariance is centred and divided by M or N. Square arrays are taken for matrices unless
    kind is features. An array `cotangent` in the same file, (b, n, n), replaces the random
    cotangents.
    """
    del n
    return _taken(load(path, key, kind, digest).matrices, rng)
