"""Check out a revision in a temporary working tree, so that `ab` can compare it."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mssbench import units
from mssbench.engines.events import PROTOCOL_VERSION
from mssbench.errors import RunError
from mssbench.machine.git import git
from mssbench.results import locks

_FOLDER = "mssbench-ab-"  # prefix of a temporary folder, which holds one working tree only
_TREE = "tree"
_NEW_SECONDS = 60.0  # longer than a folder is without its lock
_NAMED = 3  # how many changed files a note names; `git status` lists them all
_PROTOCOL = r"^PROTOCOL(_VERSION)? *= *[0-9]+"


class Revision(NamedTuple):
    """A commit that is checked out in a temporary working tree."""

    tree: Path
    also: tuple[str, ...]  # the user's method files; those of the repository as in this commit


def commit_of(name: str) -> str | None:
    """The hash of the commit that a name denotes in the current checkout; None if there is none."""
    if name.startswith("-"):
        return None
    found = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return found.text.strip() if found.ok else None


def why_no_commit() -> str:
    """Why git may not find a commit that does exist, as a sentence; empty if no cause is known.

    A shallow clone lacks older commits, and git refuses to read a repository of another user.
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
    """Raise RunError, before a worker is started, if a commit's workers use another protocol.

    The version of the protocol is read from the source code of the commit; a commit in which none
    is found is not refused.
    """
    found = git("grep", "-hE", _PROTOCOL, commit, "--", "mssbench", folder=_top())
    spoken = {int(number) for number in re.findall(r"= *(\d+)", found.text)} if found.ok else set()
    if spoken and PROTOCOL_VERSION not in spoken:
        raise RunError(
            f"{name} ({commit[:12]}) has an mssbench that speaks protocol {max(spoken)} with its "
            f"workers, this one speaks {PROTOCOL_VERSION}: they cannot be compared by `ab`. "
            "Compare tables of two runs: mssbench compare."
        )


def left_out(name: str, commit: str, also: Sequence[str]) -> str:
    """A note on the uncommitted changes that a comparison of HEAD leaves out; empty if none.

    name, commit: the revision as the user wrote it, and its hash; the note is empty for any commit
    but HEAD. also: the user's method files, of which those inside the checkout are looked at.
    """
    if commit != commit_of("HEAD"):
        return ""
    top = _top()
    inside = [path for path in map(Path, also) if path.is_relative_to(top)]
    changes = git(
        "status",
        "--porcelain",
        "--no-renames",
        "--untracked-files=all",
        "-z",
        "--",
        "mssbench",
        *map(str, inside),
        folder=top,
    )
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
    """Check a commit out in a temporary working tree, which is removed at the end of the block.

    name, commit: the revision as the user wrote it, and its hash. also: the user's method files;
    one that does not exist in this commit is left out. Raises RunError if the commit's workers use
    another protocol, if git refuses the checkout, if the commit has no mssbench at its top, and for
    a file inside the repository that git tracks neither now nor in the commit.
    """
    refuse_other_protocol(name, commit)
    files = _files(also, commit)
    remove_abandoned()

    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    tree, lock = folder / _TREE, None
    try:
        lock = _keep(folder)
        added = git("worktree", "add", "--detach", "--quiet", str(tree), commit)
        if not added.ok:
            raise RunError(f"{commit[:12]} cannot be checked out: {added.reason or 'git failed'}.")
        if not (tree / "mssbench" / "worker.py").is_file():
            raise RunError(f"{commit[:12]} has no mssbench at its top.")
        paths = [path if inside is None else tree / inside for path, inside in files]
        yield Revision(tree, tuple(str(path) for path in paths if path.is_file()))
    finally:
        _remove(tree)
        if lock is not None:
            locks.release(lock)


def _keep(folder: Path) -> int:
    """Lock a folder of ours: another `ab` removes those that nobody has locked."""
    try:
        lock, _ = locks.hold_folder(folder)
    except OSError as error:
        raise RunError(
            f"{folder} cannot be locked: {error.strerror or error}. "
            "Set TMPDIR to a folder on a disk of this machine."
        ) from error
    return lock


def remove_abandoned() -> None:
    """Remove the working trees of `ab` processes that were killed before they could do so.

    A tree that a living process has locked stays.
    """
    listed = git("worktree", "list", "--porcelain").text.splitlines()
    paths = [Path(line.removeprefix("worktree ")) for line in listed if line[:9] == "worktree "]
    for tree in paths:
        if tree.name != _TREE or not tree.parent.name.startswith(_FOLDER):
            continue
        try:
            lock, ours = locks.hold_folder(tree.parent)
        except OSError:  # the folder is gone already, or it is another user's
            if not tree.parent.exists():
                _remove(tree)
            continue
        if ours:
            _remove(tree)
        locks.release(lock)
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    """Remove a folder in which no tree was begun, if nobody holds it.

    Nothing is done to one that has anything in it, which may be the tree of another repository, nor
    to one so new that another `ab` may be about to lock it.
    """
    try:
        inside = {path.name for path in folder.iterdir()}
        if inside - {locks.IN_FOLDER} or time.time() - folder.stat().st_mtime < _NEW_SECONDS:
            return
        lock, ours = locks.hold_folder(folder)
    except OSError:  # it is gone already, or another user's
        return
    if ours:
        with suppress(OSError):
            (folder / locks.IN_FOLDER).unlink(missing_ok=True)
            folder.rmdir()
    locks.release(lock)


def _remove(tree: Path) -> None:
    """Remove a working tree in whatever state, its folder, and the repository's record of it."""
    # Git locks a tree while it fills it; a second --force removes the tree of a git killed then.
    remove = ("worktree", "remove", "--force", "--force", str(tree))
    done = git(*remove)
    shutil.rmtree(tree.parent, ignore_errors=True)
    if not done.ok:  # git refuses to remove a damaged tree, but accepts one whose files are gone
        git(*remove)


def _files(also: Sequence[str], commit: str) -> list[tuple[Path, Path | None]]:
    """Each file, with its path inside the repository, or None for a file outside of it.

    Raises RunError for a file inside the repository that git tracks neither now nor in the commit.
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
    """The top folder of the current checkout; if there is none, a folder that does not exist."""
    found = git("rev-parse", "--show-toplevel")
    return Path(found.text) if found.ok and found.text else Path("/nowhere")
