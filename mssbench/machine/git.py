"""Run git in an environment that names no repository.

Git sets variables such as GIT_DIR and GIT_INDEX_FILE for its hooks: they name the repository and
the index of the command that called the hook. They take precedence over the folder in which another
command is started: a `git worktree add` that inherits GIT_INDEX_FILE writes to the index of the
commit that is being made. Therefore every git command is started without them.
"""

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

# The output of `git rev-parse --local-env-vars` of git 2.39, in case the installed git lists less.
_KNOWN_LOCAL = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
# GIT_NAMESPACE limits git to a part of the refs. `--local-env-vars` does not list it.
_ALSO_LOCAL = ("GIT_NAMESPACE",)

# Git starts no program of the user: no hooks, and no file system monitor.
_NO_HOOKS = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")


class Said(NamedTuple):
    """The result of a git command."""

    code: int  # exit status: 0 for success, 127 if git could not be started
    text: str  # stdout, without line breaks at its end
    reason: str  # stderr in one line, which says why a command failed

    @property
    def ok(self) -> bool:
        """Whether the command succeeded."""
        return self.code == 0


def git(*words: str, folder: Path | None = None) -> Said:
    """Run a git command in `folder`, or in the current folder.

    The variables by which a caller's git names its repository have no effect. Git runs no hook,
    asks for no password, and takes no lock that it does not need. A failure is returned, not
    raised.
    """
    command = ["git", "--no-optional-locks", *_NO_HOOKS, *words]

    try:
        # In a new session, so that Ctrl-C does not kill git while it writes a working tree.
        done = subprocess.run(
            command,
            check=False,
            cwd=folder,
            env=environment() | {"GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",  # file names need not be UTF-8
            start_new_session=True,
        )
    except OSError as error:
        return Said(127, "", f"git cannot be started: {error.strerror}")
    return Said(done.returncode, done.stdout.rstrip("\n"), _one_line(done.stderr))


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without the variables that tie git to one repository.

    variables: the environment to start from; None: that of this process.
    """
    start = os.environ if variables is None else variables
    if not any(name.startswith("GIT_") for name in start):
        return dict(start)
    return {name: value for name, value in start.items() if name not in local_variables()}


@cache
def local_variables() -> frozenset[str]:
    """Return the names of the environment variables that tie git to one repository.

    They are those that the installed git lists, `_KNOWN_LOCAL` and `_ALSO_LOCAL`.
    """
    try:
        listed = subprocess.run(
            ["git", "rev-parse", "--local-env-vars"],
            check=False,
            env={name: value for name, value in os.environ.items() if name not in _KNOWN_LOCAL},
            capture_output=True,
            text=True,
        ).stdout.split()
    except OSError:
        listed = []

    return frozenset({*_KNOWN_LOCAL, *_ALSO_LOCAL, *listed})


def _one_line(text: str) -> str:
    """Return an error message of git in one line, without its prefix."""
    return " ".join(text.removeprefix("fatal: ").split())
