"""A Slurm without a cluster: this process does the tasks, one each time that the queue is read."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mssbench.engines.slurm import jobs
from mssbench.engines.slurm.jobs import Task


class FakeSlurm:
    """Stands for the functions of `mssbench.engines.slurm.jobs`.

    kill: numbers of shards whose tasks end without doing anything. do: is called before each look
    at the queue. submitted: the arguments of every array so far.
    """

    def __init__(self) -> None:
        self.kill: set[int] = set()
        self.do: Callable[[], object] = lambda: None
        self.silent = False
        self.submitted: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.restarted: list[Task] = []
        self._queue: list[Callable[[], object]] = []

    def submit(
        self, function: Callable[..., Any], arguments: list[Any], folder: Path, **others: Any
    ) -> None:
        self.submitted.append(
            {"shards": [each[1] for each in arguments], "folder": folder} | others
        )
        self.submitted[-1]["retry"] = arguments[0][2]
        self._queue += [partial(self._work, function, each) for each in arguments]

    def _work(self, function: Callable[..., Any], arguments: Any) -> None:
        if arguments[1] in self.kill:
            (Path(arguments[0]) / "tasks" / "1_0_log.out").write_text("first\nBus error\n\n")
            return
        with contextlib.suppress(Exception):  # a task's error stays on its node
            function(*arguments)

    def tasks(self, _name: str) -> list[Task] | None:
        self.do()
        if self.silent:
            return None
        if self._queue:
            self._queue.pop(0)()
        waiting = [Task(f"7_{i}", "PENDING", 0, "Resources", "") for i in range(len(self._queue))]
        return self.restarted + waiting

    def cancel(self, *ids: str, name: str = "") -> None:
        self.cancelled += [*ids, *([name] if name else [])]
        self.restarted = [task for task in self.restarted if task.job not in ids]
        if name:
            self._queue, self.restarted = [], []

    def take_the_place(self, patch: pytest.MonkeyPatch) -> None:
        """Stand in the place of the real one until the patch is undone."""
        for name in ("submit", "tasks", "cancel"):
            patch.setattr(jobs, name, getattr(self, name))
        patch.setattr(jobs, "refuse_missing", lambda: None)
        patch.setattr(jobs, "why_silent", lambda _: "Unable to contact slurm controller")

    @property
    def shards(self) -> list[list[int]]:
        """The numbers of the shards of every array so far."""
        return [each["shards"] for each in self.submitted]


@pytest.fixture
def heeded() -> Iterator[None]:
    """Let SIGINT reach this process, which `pytest &` in a shell lets every process ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def fake_slurm(monkeypatch: pytest.MonkeyPatch, heeded: None) -> FakeSlurm:
    """A Slurm without a cluster, in the place of the real one."""
    fake = FakeSlurm()
    fake.take_the_place(monkeypatch)
    return fake
