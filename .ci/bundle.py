"""Pack a folder into one .tgz of a limited size: what matters most first, profiles last.

    python3 .ci/bundle.py FOLDER ARCHIVE.tgz [--limit BYTES]

The archive is never larger than the limit, and it is replaced as a whole: whoever reads it finds
the last one or the new one. Files that did not fit are named in its `left_out.txt`. Paths in it
are relative to FOLDER. Links and empty folders are left out.
"""

import argparse
import gzip
import io
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

LIMIT = 16 * 2**20  # bytes: what a lender of GPUs may bring back of one file
LEFT_OUT = "left_out.txt"
_END = bytes(2 * 512)  # two empty blocks end a tar archive
_RESERVED = 4096  # bytes of the limit that are for `LEFT_OUT` and the end
_MOST_SHRUNK = 8  # a profile shrinks to a third or so: one that is larger than this cannot fit
# By the end of a name, in the order in which they go in. All others come between these two.
_FIRST = ("summary.txt", "here.txt", "table.csv", "journal.jsonl", ".json", ".toml", ".txt")
_LAST = (".csv.gz", ".ncu-rep")


def pack(folder: Path, archive: Path, limit: int = LIMIT) -> list[str]:
    """Pack it, and return the relative paths that did not fit.

    A tar archive may be compressed in parts, which are simply put one behind the other: so the
    size with one more file is known before it is taken.
    """
    parts, size, left_out = [], 0, list[str]()
    for path in _files(folder, archive):
        name = str(path.relative_to(folder))
        part = None
        if path.stat().st_size <= _MOST_SHRUNK * limit:
            part = _compressed(name, path)
        if part is None or size + len(part) > limit - _RESERVED:
            left_out.append(name)
            continue
        parts.append(part)
        size += len(part)

    if left_out:
        parts.append(_named(LEFT_OUT, _fitting(left_out), mode=0o644))
    parts.append(gzip.compress(_END))
    _replace(archive, b"".join(parts))
    return left_out


def _files(folder: Path, archive: Path) -> list[Path]:
    """Those that are packed, the most important first, and of two alike the smaller one."""
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.resolve() != archive.resolve()
    ]
    found = [path for path in found if path.relative_to(folder) != Path(LEFT_OUT)]
    return sorted(found, key=lambda path: (_rank(path.name), path.stat().st_size, str(path)))


def _rank(name: str) -> int:
    for rank, ending in enumerate(_FIRST):
        if name.endswith(ending):
            return rank
    if name.endswith(_LAST) or (name.startswith("ncu") and name.endswith(".csv")):
        return len(_FIRST) + 1
    return len(_FIRST)


def _compressed(name: str, path: Path) -> bytes | None:
    """A file as a part of the archive. None for one that has gone meanwhile."""
    try:
        return _named(name, path.read_bytes(), mode=path.stat().st_mode & 0o777)
    except OSError:
        return None


def _named(name: str, data: bytes, mode: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    padding = bytes(-len(data) % 512)
    return gzip.compress(entry.tobuf(tarfile.GNU_FORMAT) + data + padding)


def _fitting(names: Sequence[str]) -> bytes:
    """One name a line, and how many more there are where that is too much for its room."""
    text, room = io.StringIO(), _RESERVED // 2
    for count, name in enumerate(names):
        if text.tell() + len(name) + 40 > room:
            text.write(f"... and {len(names) - count} more\n")
            break
        text.write(f"{name}\n")
    return text.getvalue().encode()


def _replace(archive: Path, content: bytes) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_name(f"{archive.name}.part")
    part.write_bytes(content)
    part.replace(archive)


def main(given: Sequence[str] | None = None) -> int:
    """0; what did not fit is printed, and is no failure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--limit", type=int, default=LIMIT)
    asked = parser.parse_args(given)
    for name in pack(asked.folder, asked.archive, asked.limit):
        print(f"not in {asked.archive.name}, for want of room: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
