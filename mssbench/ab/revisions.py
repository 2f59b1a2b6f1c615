"""A revision of the checkout here, as a working tree of its own for as long as it is compared."""

import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mssbench import units
from mssbench.engines.events import PROTOCOL_VERSION
from mssbench.errors import RunError
from mssbench.machine.git import git
from mssbench.results import locks

_FOLDER = "mssbench-ab-"  # begins the name of a folder that holds nothing but one of our trees
_TREE = "tree"
_NAMED = 3  # changed files that are named; a reader finds the others with `git status`
_PROTOCOL = r"^PROTOCOL(_VERSION)? *= *[0-9]+"


class Revision(NamedTuple):
    """A commit that was checked out."""

    tree: Path
    also: tuple[str, ...]  # the files of a user's methods as this commit has them


def commit_of(name: str) -> str | None:
    """The commit that a name means in the checkout here."""
    if name.startswith("-"):
        return None
    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return found.text.strip() if found.ok else None


def why_no_commit() -> str:
    """Why a name may mean no commit here, in git's own words; empty where git works as it should.

    A clone without history and a repository of another user have commits that git does not show.
    """
    here = git("rev-parse", "--git-dir")
    if not here.ok:
        return f"git says: {here.reason}."
    if git("rev-parse", "--is-shallow-repository").text == "true":
        return (
            "This is a shallow clone, which has no older commits: `git fetch --unshallow`, or "
            "`fetch-depth: 0` of actions/checkout, brings them."
        )
    return ""


def refuse_other_protocol(name: str, commit: str) -> None:
    """Raise RunError for a commit whose workers cannot be spoken to, before any is started."""
    found = git("grep", "-hE", _PROTOCOL, commit, "--", "mssbench")
    spoken = {int(number) for number in re.findall(r"= *(\d+)", found.text)} if found.ok else set()
    if spoken and PROTOCOL_VERSION not in spoken:
        raise RunError(
            f"{name} ({commit[:12]}) has an mssbench that speaks protocol {max(spoken)} with its "
            f"workers, this one speaks {PROTOCOL_VERSION}: they cannot be compared by `ab`. "
            "Compare tables of two runs: mssbench compare."
        )


def left_out(name: str, commit: str, also: Sequence[str]) -> str:
    """What the commit that is checked out here lacks of the files beside it; empty if nothing."""
    if commit != commit_of("HEAD"):
        return ""
    top = _top()
    inside = [path for path in map(Path, also) if path.is_relative_to(top)]
    changes = git(
        "status", "--porcelain", "--no-renames", "--untracked-files=all", "-z",
        "--", "mssbench", *map(str, inside), folder=top,
    )  # fmt: skip
    files = [entry[3:] for entry in changes.text.split("\0") if entry]
    if not files:
        return ""
    named = ", ".join(files[:_NAMED])
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    return (
        f"{name} leaves out {units.count(len(files), 'uncommitted change')} of this tree: "
        f"{named}{more}"
    )


@contextmanager
def checked_out(name: str, commit: str, also: Sequence[str]) -> Iterator[Revision]:
    """A working tree of its own with that commit, which is gone afterwards.

    also: files of a user's methods; one that this commit has not yet is left out. Raises RunError
    where git refuses, where mssbench is not in the commit, and for a file that git does not track.
    """
    refuse_other_protocol(name, commit)
    files = _files(also, commit)
    remove_abandoned()

    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    # Held for as long as we live: another `ab` removes what nobody holds.
    lock, _ = locks.hold(folder)
    tree = folder / _TREE
    try:
        added = git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        if not added.ok:
            raise RunError(f"{commit[:12]} cannot be checked out: {added.reason or 'git failed'}.")
        if not (tree / "mssbench" / "worker.py").is_file():
            raise RunError(f"{commit[:12]} has no mssbench at its top.")
        paths = [path if inside is None else tree / inside for path, inside in files]
        yield Revision(tree, tuple(str(path) for path in paths if path.is_file()))
    finally:
        _remove(tree)
        locks.release(lock)


def remove_abandoned() -> None:
    """Remove the working trees of an `ab` that was killed before it could do so."""
    listed = git("worktree", "list", "--porcelain").text.splitlines()
    paths = [Path(line.removeprefix("worktree ")) for line in listed if line[:9] == "worktree "]
    for tree in paths:
        if tree.name != _TREE or not tree.parent.name.startswith(_FOLDER):
            continue
        try:
            lock, ours = locks.hold(tree.parent)
        except OSError:  # the folder is gone already, or it is another user's
            if not tree.parent.exists():
                _remove(tree)
            continue
        if ours:
            _remove(tree)
        locks.release(lock)


def _remove(tree: Path) -> None:
    """Remove a working tree, whatever state it is in, and what the repository keeps of it."""
    # The word comes twice for a tree that git had locked while it filled it, when it was killed.
    remove = ("worktree", "remove", "--force", "--force", str(tree))
    done = git(*remove)
    shutil.rmtree(tree.parent, ignore_errors=True)
    if not done.ok:  # git refuses a tree that is damaged, and none that is gone
        git(*remove)


def _files(also: Sequence[str], commit: str) -> list[tuple[Path, Path | None]]:
    """Each file, and where it lies in the repository if it does.

    Raises RunError for a file of the repository that git does not track: no revision has it.
    """
    top = _top()
    found: list[tuple[Path, Path | None]] = []
    for path in map(Path, also):
        if not path.is_relative_to(top):
            found.append((path, None))
            continue
        inside = path.relative_to(top)
        tracked = git("ls-files", "--error-unmatch", "--", str(inside), folder=top).ok
        if not tracked and not git("cat-file", "-e", f"{commit}:{inside}", folder=top).ok:
            raise RunError(
                f"--also {path}: git does not track this file, so no revision has it. Commit it, "
                "or move it out of the checkout: then both sides take it as it is."
            )
        found.append((path, inside))
    return found


def _top() -> Path:
    """The top of the checkout here; a folder without anything where there is none."""
    found = git("rev-parse", "--show-toplevel")
    return Path(found.text) if found.ok and found.text else Path("/nowhere")
