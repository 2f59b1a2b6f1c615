"""Check out a git revision in a temporary working tree, so that `ab` can compare it."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from mssbench.engines.events import PROTOCOL_VERSION
from mssbench.errors import RunError
from mssbench.machine.git import git
from mssbench.records import units
from mssbench.results import locks

_FOLDER = "mssbench-ab-"  # prefix of a temporary folder, which holds one working tree only
_TREE = "tree"
# Age in seconds up to which an unlocked folder is kept: another `ab` may be about to lock it.
_NEW_SECONDS = 60.0
_NAMED = 3  # changed files that a note names; `git status` lists them all
_PROTOCOL = r"^PROTOCOL(_VERSION)? *= *[0-9]+"


class Revision(NamedTuple):
    """A commit that is checked out in a temporary working tree."""

    tree: Path
    also: tuple[str, ...]  # the user's method files; those of the repository as in this commit


def commit_of(name: str) -> str | None:
    """Return the hash of the commit that a name, such as `HEAD~2`, denotes in the current checkout.

    None if it denotes none.
    """
    if name.startswith("-"):
        return None
    answer = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    return answer.text.strip() if answer.ok else None


def why_no_commit() -> str:
    """Return why git may not find a commit that exists, as a sentence; empty if unknown.

    A shallow clone lacks older commits, and git refuses to read a repository of another user.
    """
    git_dir = git("rev-parse", "--git-dir")
    if not git_dir.ok:
        return f"git says: {git_dir.reason}."
    if git("rev-parse", "--is-shallow-repository").text == "true":
        return (
            "This is a shallow clone, which has no older commits: `git fetch --unshallow`, or "
            "`fetch-depth: 0` of actions/checkout, brings them."
        )
    return ""


def refuse_other_protocol(name: str, commit: str) -> None:
    """Raise RunError if the workers of a commit use another protocol than this mssbench.

    The protocol is how `ab` talks to its worker processes. Its version is read from the source code
    of the commit, before a worker is started; a commit in which none is found is not refused.
    """
    grep = git("grep", "-hE", _PROTOCOL, commit, "--", "mssbench", folder=_top())
    versions = {int(number) for number in re.findall(r"= *(\d+)", grep.text)} if grep.ok else set()
    if versions and PROTOCOL_VERSION not in versions:
        raise RunError(
            f"{name} ({commit[:12]}) has an mssbench that speaks protocol {max(versions)} with its "
            f"workers, this one speaks {PROTOCOL_VERSION}: `ab` cannot compare them. "
            "Compare the tables of two runs instead: mssbench compare."
        )


def left_out(name: str, commit: str, also: Sequence[str]) -> str:
    """Return a sentence on the uncommitted changes that a comparison of HEAD leaves out.

    Empty if there are none.

    name, commit: the revision as the user wrote it, and its hash; for commits other than HEAD the
    note is empty. also: the user's method files; those inside the checkout are considered.
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
    """Lock a temporary folder, because every other `ab` removes those that are not locked.

    Returns the descriptor of the lock, for `locks.release`. Raises RunError if the folder cannot be
    locked.
    """
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

    Trees that are locked by a living process are kept.
    """
    listed = git("worktree", "list", "--porcelain").text.splitlines()
    paths = [Path(line.removeprefix("worktree ")) for line in listed if line[:9] == "worktree "]
    for tree in paths:
        if tree.name != _TREE or not tree.parent.name.startswith(_FOLDER):
            continue
        try:
            lock, ours = locks.hold_folder(tree.parent)
        except OSError:  # the folder has been removed already, or belongs to another user
            if not tree.parent.exists():
                _remove(tree)
            continue
        if ours:
            _remove(tree)
        locks.release(lock)

    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    """Remove a temporary folder without a working tree, unless a process has locked it.

    A folder with other content is kept, as it may have the tree of another repository. A new one is
    kept as well, because another `ab` may be about to lock it.
    """
    try:
        inside = {path.name for path in folder.iterdir()}
        if inside - {locks.IN_FOLDER} or time.time() - folder.stat().st_mtime < _NEW_SECONDS:
            return
        lock, ours = locks.hold_folder(folder)
    except OSError:  # the folder has been removed already, or belongs to another user
        return

    if ours:
        with suppress(OSError):
            (folder / locks.IN_FOLDER).unlink(missing_ok=True)
            folder.rmdir()
    locks.release(lock)


def _remove(tree: Path) -> None:
    """Remove a working tree in any state, its folder, and what git has noted of the tree."""
    # Git locks a tree while filling it. The second --force removes a tree that is still locked
    # because git was killed at that time.
    remove = ("worktree", "remove", "--force", "--force", str(tree))
    done = git(*remove)
    shutil.rmtree(tree.parent, ignore_errors=True)
    if not done.ok:  # git refuses to remove a damaged tree, but accepts one whose files are gone
        git(*remove)


def _files(also: Sequence[str], commit: str) -> list[tuple[Path, Path | None]]:
    """Return each file of the user's with its path inside the repository, or None if outside.

    Raises RunError for a file inside the repository that git tracks neither now nor in the commit.
    """
    top = _top()
    files: list[tuple[Path, Path | None]] = []
    for path in map(Path, also):
        if not path.is_relative_to(top):
            files.append((path, None))
            continue
        inside = path.relative_to(top)

        tracked = git("ls-files", "--error-unmatch", "--", str(inside), folder=top).ok
        if not tracked and not git("cat-file", "-e", f"{commit}:{inside}", folder=top).ok:
            raise RunError(
                f"--also {path}: git does not track this file, so no revision has it. Commit it, "
                "or move it out of the checkout: then both sides use this file."
            )
        files.append((path, inside))
    return files


def _top() -> Path:
    """Return the top folder of the current checkout, or a non-existent folder if there is none."""
    answer = git("rev-parse", "--show-toplevel")
    return Path(answer.text) if answer.ok and answer.text else Path("/nowhere")
