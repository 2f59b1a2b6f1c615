"""Every call of git, in an environment of its own.

A hook is told by variables which repository and which index its caller works on, and these rule
over the folder that a command is started in. A `git worktree add` that inherits GIT_INDEX_FILE
writes into the index of the commit that is being made.
"""

import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

# What `git rev-parse --local-env-vars` lists as of git 2.39, for a git that cannot be asked.
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
# Names of another repository's refs, which git does not count among them.
_ALSO_LOCAL = ("GIT_NAMESPACE",)

# A monitor of the file system is a program of the user's too, which `git status` would start.
_NO_HOOKS = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")


class Said(NamedTuple):
    """What git answered."""

    code: int  # 0 where it did what it was asked; 127 where there is no git
    text: str  # its output, without the last line break
    reason: str  # its own words about a failure, in one line

    @property
    def ok(self) -> bool:
        """Whether it did what it was asked."""
        return self.code == 0


def git(*words: str, folder: Path | None = None) -> Said:
    """Run git in `folder`, or in the present one, whatever repository the caller works on.

    Git runs no hook, asks nothing, and takes no lock that it does not need.
    """
    command = ["git", "--no-optional-locks", *_NO_HOOKS, *words]
    try:
        # A session of its own: Ctrl-C asks us to end, and must not leave half a tree.
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment() | {"GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",  # names of files need not be UTF-8
            start_new_session=True,
        )
    except OSError as error:
        return Said(127, "", f"git cannot be started: {error.strerror}")
    return Said(done.returncode, done.stdout.rstrip("\n"), _one_line(done.stderr))


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of this process, or those given, without any that name a repository."""
    given = os.environ if variables is None else variables
    if not any(name.startswith("GIT_") for name in given):
        return dict(given)
    return {name: value for name, value in given.items() if name not in local_variables()}


@cache
def local_variables() -> frozenset[str]:
    """The names of the variables that tie git to one repository, of this git and of others."""
    try:
        told = subprocess.run(
            ["git", "rev-parse", "--local-env-vars"],
            env={name: value for name, value in os.environ.items() if name not in _KNOWN_LOCAL},
            capture_output=True,
            text=True,
        ).stdout.split()
    except OSError:
        told = []
    return frozenset({*_KNOWN_LOCAL, *_ALSO_LOCAL, *told})


def _one_line(text: str) -> str:
    """The reason that git gives: without its prefix, and without the line breaks."""
    return " ".join(text.removeprefix("fatal: ").split())
