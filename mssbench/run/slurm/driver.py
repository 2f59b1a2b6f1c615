"""The driver of a run on a cluster: it submits tasks, waits for them, and joins the results."""

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from mssbench.engines.slurm import jobs
from mssbench.engines.slurm.options import Options
from mssbench.errors import RunError
from mssbench.records import units
from mssbench.run.signals import Takedown
from mssbench.run.slurm.shards_folder import End, ShardsFolder
from mssbench.run.slurm.work import Work

# How often the shards that are not complete are submitted. More than once, because a node may be
# lost; not for ever, because what fails three times will fail again.
_ROUNDS = 3
# Seconds between two questions to Slurm, whose controller serves many users: a part of the time so
# far, so that a short run ends at once, and a long one is no burden.
_LEAST_POLL, _MOST_POLL, _POLL_PART = 0.5, 15.0, 0.02
_LOOK_SECONDS = 0.2  # longest delay until Ctrl-C is noticed
# Seconds that cancelled tasks get to end: Slurm itself waits for half a minute before it kills.
_END_SECONDS = 120.0

# Seconds for which the files of a task may be missing after its end, since a shared file system may
# show late what another machine has written.
_LATE_SECONDS = 10.0

# A function of an importable module, called on a node: task(folder of the shards, number, retry).
Task = Callable[[str, int, tuple[str, ...]], None]


class Campaign:
    """One run on the cluster: a suite on one kind of node.

    work: what is to be done. folder: of the shards. options: of sbatch. task: does a shard.
    retry: statuses of cells that are done again. label: what messages call it; empty if there is
    only one.
    """

    def __init__(
        self,
        work: Work,
        folder: ShardsFolder,
        options: Options,
        task: Task,
        *,
        retry: Sequence[str] = (),
        label: str = "",
    ) -> None:
        self.work, self.folder, self._label = work, folder, label
        self._options, self._task, self._retry = options, task, tuple(retry)
        self._name = ""
        self._asked: dict[str, Any] = {}  # what the tasks are told
        self._fresh = False  # whether the run that is there is replaced in the end
        self._rounds = 0
        self._missing_before = -1  # number of cells without a result at the latest submission
        self._declined: set[str] = set()
        self._submitted: tuple[int, ...] = ()  # the shards of the latest array
        self._ended: float | None = None  # when the queue was first seen without their tasks
        self.status = ""
        self.failure = ""  # why cells have no result, if not all tasks could do their work
        self.over = False  # whether the limit of time has ended a task before its last cell

    def open(self, *, fresh: bool) -> str:
        """Prepare the folder of the shards. Return a remark, if an earlier start is continued.

        fresh: whether what is there is measured again. Raises RunError if the folder holds other
        shards than those of this work, if Slurm does not answer, or if the run that is there must
        not be replaced.
        """
        before, asked = self.folder.asked(), self.work.asked()
        if before is not None and not fresh:
            self._refuse_other(before, asked)
        # A start with --fresh that was killed is continued without it, and still replaces the run.
        self._fresh = fresh or (before is not None and before.get("fresh", False))
        self.work.refuse_to_replace(fresh=self._fresh)
        if before is not None and fresh:
            if not self._cancel_all(before["name"]):
                raise RunError(
                    "tasks of an earlier start do not end, or Slurm does not answer. Nothing was "
                    f"deleted: try again when `squeue --name={before['name']}` shows none."
                )
            self.folder.clear()
            before = None

        self._name = before["name"] if before else f"mssbench-{secrets.token_hex(6)}"
        self._asked = {"name": self._name, **asked}
        self.folder.ask({**self._asked, "fresh": self._fresh}, self.work.suite_text())
        tasks = jobs.tasks(self._name)
        if tasks is None:
            raise RunError(f"squeue does not answer: {jobs.why_silent(self._name)}")
        self.work.follow(self._retry)
        if tasks:
            count = units.count(len(tasks), "task")
            return f"{count} of an earlier start {'is' if len(tasks) == 1 else 'are'} in the queue."
        return ""

    def _refuse_other(self, before: dict[str, Any], asked: dict[str, Any]) -> None:
        """Raise RunError if the shards that are there are of another run."""
        fixed = ("kind", "shards", "digest", "only")
        if changed := [key for key in fixed if before.get(key) != asked.get(key)]:
            what = "number of shards" if changed == ["shards"] else "suite, or other options"
            raise RunError(
                f"{self.folder.path} holds the shards of a run with another {what}. Use the same "
                "command as before to continue it, --fresh to measure everything again, or another "
                "--out."
            )

    def step(self) -> bool:
        """Look at the queue, and submit what is missing. Whether the campaign has ended."""
        tasks = jobs.tasks(self._name)
        if tasks is None:
            self.status = "Slurm does not answer"
            return False
        self._decline(tasks)
        self.work.news()
        if tasks:
            self.status, self._ended = _in_words(tasks), None
            return False
        if self._waits_for_files():
            self.status = "waiting for the files of tasks that have ended"
            return False

        todo = self._to_submit()
        if todo:
            try:
                self._submit(todo)
            except RunError as refusal:
                if self._rounds == 1:
                    raise
                self.failure = str(refusal)  # what was measured before is joined all the same
                return True
        return not todo

    def _waits_for_files(self) -> bool:
        """Whether a task has ended without a word that may still become visible here."""
        if all(self.folder.end(number) is not None for number in self._submitted):
            return False
        if self._ended is None:
            self._ended = time.monotonic()
        return time.monotonic() - self._ended < _LATE_SECONDS

    def _to_submit(self) -> list[int]:
        """Return the numbers of the shards that another round is worth while for."""
        retry = self._retry if self._rounds == 0 else ()
        missing = {i: self.work.missing(i, retry) for i in range(1, self.work.shards + 1)}
        missing = {number: count for number, count in missing.items() if count}
        ends = {number: self.folder.end(number) for number in missing} if self._rounds else {}
        self.failure = next((end.error for end in ends.values() if end and end.error), "")

        total = sum(missing.values())
        open_ = [number for number in missing if not _has_ended_for_good(ends.get(number))]
        # Once more where nothing was done at all: all tasks may have been cancelled, or lost.
        if open_ and self._rounds > 1 and total == self._missing_before:
            words = self.folder.last_words()
            self.failure = self.failure or f"the tasks ended without a result; {words}"
            return []
        if open_ and self._rounds == _ROUNDS:
            self.failure = self.failure or f"its task ended before it {_ROUNDS} times"
            return []
        self._missing_before = total
        return open_

    def _submit(self, numbers: Sequence[int]) -> None:
        retry = self._retry if self._rounds == 0 else ()
        self._rounds += 1
        self._submitted, self._ended = tuple(numbers), None
        self.folder.forget_ends(*numbers)
        jobs.submit(
            self._task,
            [(str(self.folder.path), number, retry) for number in numbers],
            self.folder.tasks,
            name=self._name,
            minutes=self.work.minutes(numbers),
            options=self._options,
        )
        self.status = f"{units.count(len(numbers), 'task')} submitted"

    def _decline(self, tasks: Sequence[jobs.Task]) -> None:
        """Cancel tasks that Slurm wants to start again; the next round has their shards.

        Slurm starts a task again whose launch has failed, in spite of --no-requeue, and a GPU that
        it had can then be lost to the cluster (seen with Slurm 22.05).
        """
        again = {t.job for t in tasks if t.restarts and t.state != "RUNNING"} - self._declined
        if again:
            jobs.cancel(*sorted(again))
            self._declined |= again

    def cancel(self) -> str:
        """Cancel all tasks, and wait until they have ended, so that their rows are complete.

        Returns a sentence if they have not; empty if they have.
        """
        ended = self._cancel_all(self._name)
        self.work.news()
        return "" if ended else f"Tasks may still run: scancel --name={self._name} cancels them."

    def _cancel_all(self, name: str) -> bool:
        """Cancel all tasks of a name, and wait for their end. Whether they are known to have ended.

        They get some time, since a task that is cancelled saves what it has measured.
        """
        end = time.monotonic() + _END_SECONDS
        jobs.cancel(name=name)
        while not (ended := jobs.tasks(name) == []) and time.monotonic() < end:
            time.sleep(_LEAST_POLL)
        return ended

    def join(self, *, stopped: bool) -> None:
        """Join what the shards have. stopped: whether the user has stopped the run.

        Raises RunError if another command has written to the folder of the run in the meantime.
        """
        reasons = {}
        for number in range(1, self.work.shards + 1):
            end = self.folder.end(number)
            if stopped:
                reasons[number] = "the run was stopped before this cell"
            elif end is not None and end.over:
                self.over = True
                reasons[number] = "the time was over before this cell"
            else:
                reasons[number] = (end.error if end else "") or self.failure
        # Days may have passed, in which another command has measured something into the folder.
        self.work.refuse_to_replace(fresh=self._fresh)
        if self.work.join(reasons):
            self.folder.ask({**self._asked, "fresh": False}, self.work.suite_text())

    @property
    def words(self) -> str:
        """The state of the campaign, for the line of progress."""
        return f"{self._label}: {self.status}" if self._label else self.status


def drive(
    campaigns: Sequence[Campaign],
    *,
    fresh: bool,
    begin: Callable[[], None],
    remark: Callable[[str], None],
    say: Callable[[str], None],
) -> bool:
    """Do the work of all campaigns, and join their results. Whether the user has stopped it.

    fresh: whether what is there is done again. begin: called before the first task is submitted.
    remark: prints a sentence. say: shows the state of the queue, again and again.

    Ctrl-C and SIGTERM cancel the tasks; what they have measured is joined. If this process is
    killed, the tasks go on, and the same call continues with them.
    Raises RunError if the folder of the shards is in use or holds something else, or if Slurm
    refuses the tasks.
    """
    jobs.refuse_missing()
    with ExitStack() as stack, Takedown() as takedown:
        for campaign in campaigns:
            campaign.folder.refuse_foreign()
            stack.enter_context(campaign.folder.held())
        say("asking Slurm")
        for campaign in campaigns:
            if found := campaign.open(fresh=fresh):
                remark(found)
        begin()

        running, start = list(campaigns), time.monotonic()
        try:
            while running and not takedown.asked():
                running = [campaign for campaign in running if not campaign.step()]
                say("; ".join(c.words for c in running) or "joining the shards")
                if running:
                    poll = _POLL_PART * (time.monotonic() - start)
                    _wait(min(max(poll, _LEAST_POLL), _MOST_POLL), takedown.asked)
        finally:  # also if Slurm has refused the tasks of one of them
            for left in filter(None, [campaign.cancel() for campaign in running]):
                remark(left)
        for campaign in campaigns:
            campaign.join(stopped=bool(running))
        return bool(running)


def _wait(seconds: float, stopped: Callable[[], bool]) -> None:
    """Wait for some seconds, or until the user asks to stop."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not stopped():
        time.sleep(_LOOK_SECONDS)


def _has_ended_for_good(end: End | None) -> bool:
    """Whether a task has ended in such a way that the next one would end in the same way."""
    return end is not None and bool(end.error or end.over)


def _in_words(tasks: Sequence[jobs.Task]) -> str:
    """Return how many tasks run, and how many wait, with Slurm's word for why."""
    waiting = [task for task in tasks if task.waits]
    running = len(tasks) - len(waiting)
    reasons = sorted({task.reason for task in waiting} - {"", "None"})
    parts = []
    if running:
        parts.append("1 task runs" if running == 1 else f"{running} tasks run")
    if waiting:
        wait = "1 waits" if len(waiting) == 1 else f"{len(waiting)} wait"
        parts.append(f"{wait} ({', '.join(reasons)})" if reasons else wait)
    return ", ".join(parts)
