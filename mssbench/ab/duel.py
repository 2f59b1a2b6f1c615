"""Arms side by side: a fresh process each, with the same cells, sampled in random order.

Only one process computes at a time, and all of them share one slot of the device. The arms disturb
each other by nothing but the contents of the caches, and the random order spreads this evenly.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

from mssbench.engines.process import Answer, Worker
from mssbench.engines.slots import Slot, lock_device, slot_of
from mssbench.engines.start import Setup
from mssbench.errors import RunError
from mssbench.records.cell import Cell
from mssbench.records.measurement import Status, one_line, uniform
from mssbench.results.locks import release

# Seconds that a sample lasts at least: far longer than the resolution of the device's clock.
_WINDOW = {"cpu": 2e-3, "cuda": 100e-6}
_MOST_CALLS = 10_000  # of a sample, so that a call that takes no time still ends
_ROUND_SECONDS = 0.2  # of a round of all arms; where it lasts longer, fewer rounds are taken
_FEWEST = 7  # rounds, unless a single one takes so long that its samples are few but steady
_FEWEST_SLOW = 3
_PAIR_SECONDS = 5.0  # of all rounds of a cell in one pair of processes: there are up to twelve
# Times the window that a sample may last where arms differ much. Two that are nearly as fast as
# each other stay far below, and so have the same number of calls.
_LONGEST = 10


class Arm(NamedTuple):
    """A side: its name, and how its process is started."""

    name: str
    setup: Setup


class Contest(NamedTuple):
    """What is compared: a cell for each arm, by name. An arm without one does not take part."""

    key: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class ArmSamples:
    """The row of one arm in one pair of processes, with its samples in seconds per call."""

    row: dict[str, Any]
    seconds: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    calls: int = 0
    flags: frozenset[str] = frozenset()  # what disturbed the samples


class Stopped(Exception):  # noqa: N818
    """Somebody asked for the end."""


class Duel:
    """One process for each arm. A context manager: they end with it."""

    def __init__(
        self,
        arms: Sequence[Arm],
        device: str,
        rounds: int,
        seed: str,
        stopped: Callable[[], bool] = lambda: False,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._arms = {arm.name: arm for arm in arms}
        self._slot: Slot = slot_of(device)
        self._rounds, self._stopped, self._waiting = rounds, stopped, waiting
        self._rng = random.Random(seed)  # noqa: S311  (no secret)
        self._workers: dict[str, Worker] = {}
        self._met: dict[str, int] = {}  # contests that a worker has seen
        self._excused = self._killed = False  # of a death in the present contest
        self._lock: int | None = None
        self.facts: dict[str, dict[str, Any]] = {}  # of the machine, by arm
        self.codes: dict[str, str] = {}  # digest of the files of each arm's mssbench, if it tells

    def __enter__(self) -> "Duel":
        self._lock = lock_device(self._slot, self._stopped, self._waiting)
        if self._lock is None:
            raise Stopped
        try:
            for name in self._arms:
                self._spawn(name)
            for name in self._arms:  # their imports went on side by side
                self._await(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:  # each ends, whatever becomes of the others
            if self._lock is not None:
                stack.callback(release, self._lock)
                self._lock = None
            for worker in self._workers.values():
                stack.callback(worker.close)
            self._workers.clear()

    def _spawn(self, name: str) -> None:
        assert self._lock is not None
        setup, arms = self._arms[name].setup, len(self._arms)
        self._workers[name] = Worker(self._slot, setup, self._lock, self._stopped, arms)
        self._met[name] = 0

    def _await(self, name: str) -> None:
        try:
            self.facts[name], _ = self._workers[name].start()
            if code := self._workers[name].code:
                self.codes[name] = code
        except RunError:
            if self._stopped():
                raise Stopped from None
            raise

    def sweep(self, contests: Sequence[Contest]) -> Iterator[tuple[str, dict[str, ArmSamples]]]:
        """Every contest once, in random order. Raises Stopped as soon as that is asked for.

        A death counts in a process that met nothing before, and a signal that was not ours only
        if it comes twice: else another cell, or somebody on this machine, may be the cause of it.
        """
        for contest in self._shuffled(contests):
            kills = 0
            while True:
                self._excused = self._killed = False
                taken = self._meet(contest)
                kills += self._killed
                if not (self._excused or (self._killed and kills == 1)):
                    break
            yield contest.key, taken

    def _shuffled(self, contests: Sequence[Contest]) -> Iterator[Contest]:
        """In random order, those of one problem together: its reference is made once a process."""
        problems: dict[Any, list[Contest]] = {}
        for contest in contests:
            cell = next(iter(contest.cells.values()))
            key = (cell.problem, cell.size, cell.batch, cell.seed, cell.precision)
            problems.setdefault(key, []).append(contest)
        for group in self._rng.sample(list(problems.values()), len(problems)):
            yield from self._rng.sample(group, len(group))

    def _meet(self, contest: Contest) -> dict[str, ArmSamples]:
        """An arm that fails drops out; what two others give is not spoiled by a third.

        Every arm verifies its first output, and one of its last sample. An arm that is alone is
        compared with nothing; one sample shows whether its later answers are right.
        """
        cells = contest.cells
        held = {
            name: self._ask(name, cells[name]) for name in self._rng.sample(list(cells), len(cells))
        }
        rows = {name: held[name]["row"] for name in cells}
        warm = {name: held[name]["seconds"] for name in cells if held[name]["ready"]}
        samples: dict[str, list[dict[str, Any]]] = {name: [] for name in warm}
        calls, rounds = self._effort(next(iter(cells.values())).device, warm)
        alone = len(cells) == 1
        rounds = 1 if alone else rounds
        for number in range(1, rounds + 1):
            if len(samples) < 2 and not alone:
                break
            for name in self._rng.sample(list(samples), len(samples)):
                last = number == rounds
                failure = self._sample(name, calls[name], samples[name], last=last)
                if failure is not None:
                    rows[name] = rows[name] | _as_failed(*failure)
                    del samples[name]
                elif last:
                    rows[name] = rows[name] | _as_verified(samples[name][-1])
        return {
            name: ArmSamples(
                row,
                tuple(s["seconds"] for s in samples.get(name, ())),
                tuple(s["cpu"] for s in samples.get(name, ())),
                calls.get(name, 0),
                frozenset(f for s in samples.get(name, ()) for f in s.get("flags") or ()),
            )
            for name, row in rows.items()
        }

    def _effort(self, device: str, warm: Mapping[str, float]) -> tuple[dict[str, int], int]:
        """Calls of a sample, by arm, and rounds. warm: seconds of a call.

        The arms have the same number of calls, as long as the slowest then takes no more than
        `_LONGEST` windows: one that is a thousand times slower than another must not take seconds.
        """
        window = _WINDOW[device]
        fastest = max(min(warm.values(), default=0.0), 1e-9)
        most = min(max(1, ceil(window / fastest)), _MOST_CALLS)
        calls = {
            name: max(1, min(most, int(_LONGEST * window / max(seconds, 1e-9))))
            for name, seconds in warm.items()
        }
        total = sum(calls[name] * seconds for name, seconds in warm.items())
        if total <= _ROUND_SECONDS:
            return calls, self._rounds
        affordable = max(_FEWEST_SLOW, int(_PAIR_SECONDS / total))
        return calls, min(self._rounds, _FEWEST, affordable)

    def _ask(self, name: str, cell: Cell) -> dict[str, Any]:
        """The reply of one arm; a death is a row like any other, and costs a new process."""
        self._met[name] += 1
        answer = self._workers[name].hold(cell, verify=True)
        self._renew(name, answer)
        if answer.reply is not None:
            return answer.reply
        row = uniform(cell, answer.status or Status.CRASHED, answer.reason)[-1].row()
        return {"row": row, "seconds": 0.0, "ready": False}

    def _sample(
        self, name: str, calls: int, found: list[dict[str, Any]], *, last: bool
    ) -> tuple[Status, str] | None:
        answer = self._workers[name].sample(calls, last=last)
        self._renew(name, answer)
        if answer.reply is None:
            return answer.status or Status.CRASHED, answer.reason
        if answer.reply["seconds"] is None:
            return Status.CRASHED, answer.reply["reason"]
        found.append(answer.reply)
        return None

    def _renew(self, name: str, answer: Answer) -> None:
        if self._stopped():
            raise Stopped
        if answer.lost:
            fresh = self._met[name] <= 1
            self._excused |= answer.died and not answer.killed and not fresh
            self._killed |= answer.killed
            self._workers.pop(name).close()
            self._spawn(name)
            self._await(name)


def _as_failed(status: Status, reason: str) -> dict[str, Any]:
    """The columns of a row whose arm gave no sample."""
    return {"status": str(status), "reason": one_line(reason)}


def _as_verified(reply: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a timed output has changed; none by a worker of an older revision."""
    verified = reply.get("verified")
    if verified is None:
        return {}
    text = {"status": verified["status"], "reason": one_line(verified["reason"])}
    return {**verified["values"], **text}
