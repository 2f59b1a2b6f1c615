"""Repositories for tests of `ab`: each revision has a small mssbench with stand-ins as workers."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers.root import ROOT, TESTS
from helpers.runs import write_suite

# Acts as a worker with the real mssbench, and not with the one of the tree that it lies in.
_WORKER = """import json, os, sys
sys.path[:] = [{root!r}, {tests!r}, *(p for p in sys.path if not p.startswith({folder!r}))]
for name in [name for name in sys.modules if name.partition(".")[0] == "mssbench"]:
    del sys.modules[name]
os.environ["STAND_IN"] = json.dumps({wishes!r})
from helpers import runs
runs.act_as_worker()
"""
TWO = "forward = ['numpy/eigh', 'numpy/svd']"


class Repository:
    """A repository with two commits, a suite beside it, and `ab` started in it."""

    def __init__(self, folder: Path, **wishes: Any) -> None:
        """wishes: of the stand-ins that the revisions of this repository have as workers."""
        self.outside, self.path = folder, folder / "repository"
        self.path.mkdir(parents=True)
        self.suite = write_suite(folder, TWO)
        self.git("init", "-q", "-b", "main")
        self.write("mssbench/__init__.py", "")
        self.write("mssbench/engines/events.py", "PROTOCOL_VERSION = 4\n")
        self.write_worker(**wishes)
        self.commit("notes", "one\n")
        self.commit("notes", "two\n")

    def write_worker(self, **wishes: Any) -> None:
        """Give the workers of this tree their wishes."""
        text = _WORKER.format(
            root=str(ROOT), tests=str(TESTS), folder=str(self.outside), wishes=wishes
        )
        # A tree that `ab` makes lies elsewhere: what it has of its own is all found by its top.
        self.write("mssbench/worker.py", text.replace("import json", _AWAY + "import json", 1))

    def write(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def git(self, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],
            cwd=more.pop("cwd", self.path),
            env=environment() | more.pop("env", {}),
            capture_output=True,
            text=True,
            check=check,
            **more,
        )

    def commit(self, name: str, text: str) -> None:
        self.write(name, text)
        self.git("add", "-A")
        self.git("commit", "-qm", text.strip())

    def hook(self, name: str, script: str) -> None:
        path = self.path / ".git" / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def ab(self, base: str = "HEAD~1", new: str = "HEAD", *more: object) -> list[str]:
        """The command that compares two revisions, for a shell or for a process."""
        command = [sys.executable, "-P", "-m", "mssbench", "ab", self.suite, "--base", base]
        return [*map(str, command), "--new", new, *map(str, more)]

    def hooked_ab(self, log: Path) -> str:
        """The line of a hook that runs `ab`, keeps what it said, and fails as it does."""
        command = " ".join(f"'{word}'" for word in self.ab())
        return f"exec {command} >> '{log}' 2>&1"

    def run(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words or self.ab(),
            cwd=more.pop("cwd", self.path),
            env=environment() | more.pop("env", {}),
            capture_output=True,
            text=True,
            **more,
        )

    def worktrees(self) -> list[str]:
        """The working trees that the repository knows of, without its own."""
        lines = self.git("worktree", "list", "--porcelain").stdout.splitlines()
        return [line for line in lines if line.startswith("worktree ")][1:]

    def changes(self) -> str:
        """What differs between the commit, the index and the files."""
        return self.git("status", "--porcelain").stdout


_AWAY = """import os, sys
_top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:] = [p for p in sys.path if os.path.abspath(p) != _top]
"""


def environment() -> dict[str, str]:
    """That of this process, without what a hook around these tests may have set."""
    names = [name for name in os.environ if name.startswith("GIT_")]
    return {k: v for k, v in os.environ.items() if k not in names} | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
    }


def machine_line(text: str) -> str:
    """The line for scripts in what `ab` printed."""
    return next((line for line in text.splitlines() if line.startswith("mssbench: verdict=")), text)
