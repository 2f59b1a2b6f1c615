"""Matrices of your own: `file(path=cov.npy)`.

A problem text names the file and a digest of its contents, so that the rows of two files never mix
even if one has replaced the other under the same path. Where a text has no digest, `canonical`
fills in that of the file as it is now; a cell whose digest the file no longer has is refused.

A relative path starts at the folder in which mssbench runs, as its workers run there too. The path
stays as it was given, so that a suite and its rows mean the same in another person's folder.
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
from mssbench.problems.generator import Outside
from mssbench.problems.registry import register_problem
from mssbench.problems.rng import Floats, Streams
from mssbench.problems.text import quoted

_DIGEST = re.compile(r"[0-9a-f]{16}")
# The clock of a file system may be this coarse: a younger file could change without showing it.
_SETTLED_NS = 2_000_000_000
# How the reasons begin why a file cannot be used that may be put right again.
_NO_FILE = "there is no file {!r}"
_UNREADABLE = "{}: cannot be read:"
_CHANGED = "{} has changed:"


def digest_of(path: str) -> str:
    """16 hex digits over the contents of a file. Raises RegistryError if it cannot be read."""
    try:
        state = Path(path).stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(state.st_mode):  # a pipe or /dev/zero would never end
        raise RegistryError(f"{_UNREADABLE.format(path)} it is not a regular file.")
    stamp = (state.st_mtime_ns, state.st_size, state.st_ino)
    young = time.time_ns() - state.st_mtime_ns < _SETTLED_NS
    return _digest.__wrapped__(path, stamp) if young else _digest(path, stamp)


@lru_cache(maxsize=64)
def _digest(path: str, stamp: tuple[int, ...]) -> str:
    del stamp  # a part of the cache's key
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
    """The matrices of a file that has this digest; an empty one means whatever it has now.

    Raises Unsupported for a file with another digest, RegistryError for one that cannot be used,
    NotInstalled where reading it needs a package that is missing.
    """
    now = digest_of(path)
    if digest and digest != now:
        raise _changed(path, digest, now)
    return _loaded(path, key, kind, now)


def _changed(path: str, digest: str, now: str) -> Unsupported:
    return Unsupported(
        f"{_CHANGED.format(path)} its digest is {now}, not {digest}. "
        "Without a digest, its matrices of now are measured"
    )


@lru_cache(maxsize=2)  # they may be large
def _loaded(path: str, key: str, kind: FileKind, digest: str) -> Loaded:
    data = _bytes(path)
    if (now := _hash(data)) != digest:
        raise _changed(path, digest, now)
    name, stored, cotangent = read(path, data, key)
    return checked(path, name, stored, cotangent, kind)


@lru_cache(maxsize=64)
def _check_definite(path: str, key: str, kind: FileKind, digest: str) -> None:
    found = load(path, key, kind, digest)
    refuse_indefinite(path, found.matrices, found.dtype)


def problem_of(path: str, key: str = "", kind: FileKind = "auto") -> tuple[str, int, int]:
    """The text of the problem that a file is, its size, and the number of its matrices.

    Raises RegistryError for a file that cannot be used, NotInstalled where a package is missing.
    """
    given = _complete(path, key, kind, "")
    count, size, _ = load(**given).matrices.shape
    text = ", ".join(f"{name}={quoted(value)}" for name, value in given.items() if value)
    return f"file({text})", size, count


def _complete(path: str, key: str, kind: FileKind, digest: str) -> dict[str, Any]:
    """The parameters with key, kind and digest as the file has them.

    A text with a digest keeps its meaning where the file is gone or has changed. Its matrices have
    been found to be definite when the digest was filled in.
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
        found = load(path, key, kind, given["digest"])
    except (RegistryError, Unsupported) as error:
        if digest:
            return given
        raise RegistryError(str(error)) from None  # Unsupported: it changes while it is read
    except NotInstalled:  # the cells become rows that say so
        return given
    if not digest:
        _check_definite(path, found.key, found.kind, given["digest"])
    return given | {"key": found.key, "kind": found.kind}


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
    found = load(path, key, kind, digest).cotangent
    return None if found is None else _taken(found, rng)


def _taken(stored: Floats, rng: Streams) -> Floats:
    """The stored matrices of a batch, which starts again from the first where it has more."""
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
        found = load(path, key, kind, digest)
    except (RegistryError, Unsupported, NotInstalled) as error:
        return str(error)
    return f"{path}: {summary(found, batches, precisions)}"


def _lacked(reason: str, path: str, key: str, kind: FileKind, digest: str) -> bool:
    """Whether the reason of a row, on one line, is that of a file that is not the right one."""
    del key, kind, digest
    starts = (_NO_FILE.format(path), _UNREADABLE.format(path), _CHANGED.format(path))
    return reason.startswith(tuple(" ".join(start.split()) for start in starts))


@register_problem(
    cite="a file of your own",
    fits=_fits,
    sizes="that of the file",
    outside=Outside(_complete, _given_cotangent, _describe, _lacked),
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

    A = matrix (index mod number) of a .npy, .npz, .pt, .safetensors, .mat, .csv or .h5 file, its
    array `key`: matrices (b, n, n) or (n, n), or features (b, n, M) or (N, n), whose covariance is
    taken, centred and divided by M or N. Square means matrices, unless kind says features. An
    array `cotangent` of the same file, (b, n, n), takes the place of the random cotangents.
    """
    del n
    return _taken(load(path, key, kind, digest).matrices, rng)
