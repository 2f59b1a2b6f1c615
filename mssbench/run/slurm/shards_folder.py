"""`ShardsFolder`, in which the shards of a run lie that is measured on a cluster.

For a run in results/standard it is results/standard-shards:

    slurm.json      what each task has to do, and the name of the jobs
    suite.toml      the suite, with the changes of the command line
    1-of-8/ ...     the folder of each shard, as `mssbench run --shard 1/8` writes it
    ends/1.json     how the last task of a shard has ended
    tasks/          the arguments and the output of each task, from submitit

`mssbench merge results/standard-shards/*-of-8 --out FOLDER` joins the shards without a cluster.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mssbench.errors import RunError
from mssbench.results import locks
from mssbench.results.files import contents, replace
from mssbench.results.rows import SUITE

_ASKED, _TASKS, _ENDS = "slurm.json", "tasks", "ends"
_VERSION = 1  # of slurm.json
_ALWAYS_PRINTED = "submitit INFO"  # begins lines that say nothing about the work


class End(NamedTuple):
    """How a task has ended. error: why it could not do its shard; empty if it could.

    over: whether its limit of time (--minutes) ended it before its last cell. node: where it ran.
    """

    error: str = ""
    over: bool = False
    node: str = ""


class ShardsFolder:
    """The folder with the shards of the run in the folder `run`. Nothing is written at first."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @classmethod
    def beside(cls, run: Path) -> "ShardsFolder":
        """Return the folder of the shards of a run. run: the folder of its joined table.

        Raises RunError if the run is in the working folder or in one above it: the folder of the
        run is exchanged for a new one in the end, which would take the working folder away.
        """
        resolved = run.resolve()
        if Path.cwd().is_relative_to(resolved):
            raise RunError(
                f"--out {run} is the working folder, or one above it, and --engine slurm replaces "
                "the folder of the run in the end. Choose a folder in the working folder, such as "
                "--out results/standard."
            )
        return cls(resolved.with_name(f"{resolved.name}-shards"))

    @property
    def tasks(self) -> Path:
        """The folder that submitit writes to."""
        return self.path / _TASKS

    @property
    def suite(self) -> Path:
        """The file of the suite, as the tasks read it."""
        return self.path / SUITE

    def shard(self, number: int, of: int) -> Path:
        """Return the folder of a shard."""
        return self.path / f"{number}-of-{of}"

    def asked(self) -> dict[str, Any] | None:
        """Return what the tasks have to do; None if no run has been begun here.

        Raises RunError if the file is damaged, or if a newer mssbench wrote it.
        """
        file = self.path / _ASKED
        try:
            data = contents(file)
            if data is None:
                return None
            found: dict[str, Any] = json.loads(data)
            if found["version"] == _VERSION:
                return found
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(
                f"{file} is damaged ({error}). `mssbench merge {self.path}/*-of-* --out FOLDER` "
                "joins what the shards have. To measure everything again, delete {self.path}."
            ) from None
        raise RunError(
            f"{file} is of another version of mssbench. Use that one, or choose another --out."
        )

    def ask(self, asked: Mapping[str, Any], suite: str) -> None:
        """Write what the tasks have to do. suite: its text."""
        self.tasks.mkdir(parents=True, exist_ok=True)
        (self.path / _ENDS).mkdir(exist_ok=True)
        replace(self.suite, suite.encode())
        text = json.dumps({"version": _VERSION, **asked}, indent=1)
        replace(self.path / _ASKED, text.encode())

    def end(self, number: int) -> End | None:
        """Return how the last task of a shard has ended; None if it was killed, or runs."""
        try:
            data = contents(self.path / _ENDS / f"{number}.json")
            return None if data is None else End(**json.loads(data))
        except (OSError, ValueError, TypeError):
            return None

    def write_end(self, number: int, end: End) -> None:
        """Write how a task has ended."""
        text = json.dumps(end._asdict())
        replace(self.path / _ENDS / f"{number}.json", text.encode())

    def forget_ends(self, *numbers: int) -> None:
        """Remove how the tasks of these shards have ended, before others are submitted."""
        for number in numbers:
            (self.path / _ENDS / f"{number}.json").unlink(missing_ok=True)

    def last_words(self) -> str:
        """Return the last line that a task has printed, with its file, for a message of failure."""
        logs = sorted(self.tasks.glob("*.out"), key=lambda file: file.stat().st_mtime)
        for log in reversed(logs):
            lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
            if words := [line for line in lines if line and not line.startswith(_ALWAYS_PRINTED)]:
                return f"{log} ends with: {words[-1][:200]}"
        return f"no task has printed anything in {self.tasks}"

    def refuse_foreign(self) -> None:
        """Raise RunError if the path is that of something else than shards of a run."""
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file, and the shards need a folder of this name.")
        if self._has_files() and self.asked() is None:
            raise RunError(
                f"{self.path} contains other files, and the shards of a run need a folder of this "
                "name. Nothing was written: choose another --out."
            )

    def _has_files(self) -> bool:
        """Whether the folder is there and has files in it, beside that of a lock."""
        return self.path.is_dir() and any(f.name != locks.IN_FOLDER for f in self.path.iterdir())

    def clear(self) -> None:
        """Delete all shards, but not the folder, whose lock this process holds.

        Call this after `refuse_foreign`.
        """
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != locks.IN_FOLDER:
                entry.unlink()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock of the folder. Raises RunError if another driver holds it."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be made: {error.strerror or error}. Choose another --out, in "
                "a folder that you and the nodes may write to."
            ) from None
        fd, free = locks.hold_folder(self.path)
        try:
            if not free:
                raise RunError(
                    f"{self.path} is in use by {locks.holder(fd)}, which waits for its tasks on "
                    "the cluster. Wait for it, or choose another --out."
                )
            yield
        finally:
            locks.release(fd)
