"""Sample the same cells in a fresh process of each arm, alternating in random order.

An arm is one side of the comparison: base, new, or null, which is base once more. A cell is one
combination of method, problem, size and so on; a contest is the cells of the arms that are compared
with each other. A sample is one timed measurement, of one or more calls.

Only one process computes at a time, and all of them share one slot of the device. The arms affect
each other only through the contents of the caches, and the random order balances this effect.
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

# Least duration of a sample in seconds: far longer than the resolution of the device's clock.
_WINDOW = {"cpu": 2e-3, "cuda": 100e-6}
_MOST_CALLS = 10_000  # calls of a sample, in case that a call takes no measurable time
_ROUND_SECONDS = 0.2  # duration of a round of all arms above which fewer rounds are made
_FEWEST = 7  # rounds of a slow cell, if they fit into _PAIR_SECONDS
_FEWEST_SLOW = 3  # rounds of a very slow cell; long samples scatter less
# Duration of all rounds of a cell in one pair of processes, as there are up to twelve pairs.
_PAIR_SECONDS = 5.0
# Longest duration of a sample in windows, if the speeds of the arms differ much. Arms of similar
# speed stay far below it, and so have the same number of calls.
_LONGEST = 10


class Arm(NamedTuple):
    """One side of a comparison: its name, and how its process is started."""

    name: str
    setup: Setup


class Contest(NamedTuple):
    """The cells that are compared with each other, by the name of their arm.

    An arm without such a cell is left out.
    """

    key: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class ArmSamples:
    """The row and the samples of one arm in one pair of processes."""

    row: dict[str, Any]
    seconds: tuple[float, ...] = ()  # wall time of each sample, in seconds per call
    cpu: tuple[float, ...] = ()  # processor time of each sample, in seconds per call
    calls: int = 0  # calls of each sample
    flags: frozenset[str] = frozenset()  # disturbances of the samples, see records/noise.py


class Stopped(Exception):  # noqa: N818
    """Raised when the user stops the comparison."""


class Duel:
    """One worker process for each arm. A context manager that ends the processes.

    arms: the sides that are compared. rounds: the largest number of samples of an arm for each
    contest. seed: of the random order. stopped: whether to stop early. waiting: called with the
    name of the holder while another process has locked the device.
    """

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
        self._met: dict[str, int] = {}  # number of contests that a worker has seen
        # Whether a worker died in the present contest: after earlier contests, or by a signal.
        self._excused = self._killed = False
        self._lock: int | None = None
        self.facts: dict[str, dict[str, Any]] = {}  # of the machine, by arm
        self.codes: dict[str, str] = {}  # digest of the files of each arm's mssbench, if it has one

    def __enter__(self) -> "Duel":
        self._lock = lock_device(self._slot, self._stopped, self._waiting)
        if self._lock is None:
            raise Stopped
        try:
            for name in self._arms:
                self._spawn(name)
            for name in self._arms:  # all were started first, so that they import in parallel
                self._await(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:  # ends each worker, even if ending another one fails
            if self._lock is not None:
                stack.callback(release, self._lock)
                self._lock = None
            for worker in self._workers.values():
                stack.callback(worker.close)
            self._workers.clear()

    def _spawn(self, name: str) -> None:
        """Start the process of an arm, without waiting for its imports."""
        assert self._lock is not None
        setup, arms = self._arms[name].setup, len(self._arms)
        self._workers[name] = Worker(self._slot, setup, self._lock, self._stopped, arms)
        self._met[name] = 0

    def _await(self, name: str) -> None:
        """Wait until the process of an arm is ready, and keep the facts of its machine.

        Raises RunError if it does not start, and Stopped if the user has stopped the comparison.
        """
        try:
            self.facts[name], _ = self._workers[name].start()
            if code := self._workers[name].code:
                self.codes[name] = code
        except RunError:
            if self._stopped():
                raise Stopped from None
            raise

    def sweep(self, contests: Sequence[Contest]) -> Iterator[tuple[str, dict[str, ArmSamples]]]:
        """Yield the key of every contest with the samples of each arm, in random order.

        If a process dies that has measured other contests, they may have caused it, so the contest
        is repeated in a fresh process. If a signal from outside has killed the process, the contest
        is repeated once as well, because another user may have sent the signal. Raises Stopped if
        the user stops the comparison.
        """
        for contest in self._shuffled(contests):
            kills = 0
            while True:
                self._excused = self._killed = False
                samples = self._meet(contest)
                kills += self._killed
                if not (self._excused or (self._killed and kills == 1)):
                    break
            yield contest.key, samples

    def _shuffled(self, contests: Sequence[Contest]) -> Iterator[Contest]:
        """Yield contests in random order; those with the same matrices follow each other.

        Their reference result is then computed once.
        """
        problems: dict[Any, list[Contest]] = {}
        for contest in contests:
            cell = next(iter(contest.cells.values()))
            key = (cell.problem, cell.size, cell.batch, cell.seed, cell.precision)
            problems.setdefault(key, []).append(contest)
        for group in self._rng.sample(list(problems.values()), len(problems)):
            yield from self._rng.sample(group, len(group))

    def _meet(self, contest: Contest) -> dict[str, ArmSamples]:
        """Return the samples of all arms of a contest, taken round by round in random order.

        A round is one sample of each arm. An arm that fails drops out, and the remaining arms go on
        while there are two. Every arm verifies its first output, and one output of its last sample.
        An arm that is alone takes one sample only, to verify a later output.
        """
        cells = contest.cells
        replies = {
            name: self._ask(name, cells[name]) for name in self._rng.sample(list(cells), len(cells))
        }
        rows = {name: replies[name]["row"] for name in cells}
        warm = {name: replies[name]["seconds"] for name in cells if replies[name]["ready"]}

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
        """Return the calls of a sample for each arm, and the number of rounds.

        The arms have the same number of calls, unless the samples of the slowest would exceed
        `_LONGEST` windows: an arm may be a thousand times slower than another. warm: seconds of a
        call, by arm.
        """
        window = _WINDOW[device]
        fastest = max(min(warm.values(), default=0.0), 1e-9)  # not 0, as it is divided by
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
        """Give a cell to the process of one arm, and return its reply: a row and a first time.

        If the process dies, a new one is started, and the reply has the status of the failure.
        """
        self._met[name] += 1
        answer = self._workers[name].hold(cell, verify=True)
        self._renew(name, answer)
        if answer.reply is not None:
            return answer.reply

        row = uniform(cell, answer.status or Status.CRASHED, answer.reason)[-1].row()
        return {"row": row, "seconds": 0.0, "ready": False}

    def _sample(
        self, name: str, calls: int, samples: list[dict[str, Any]], *, last: bool
    ) -> tuple[Status, str] | None:
        """Take a sample of one arm and append it; return status and reason if that fails, or None.

        calls: the number of calls that are timed together. last: whether it is the last sample.
        """
        answer = self._workers[name].sample(calls, last=last)
        self._renew(name, answer)
        if answer.reply is None:
            return answer.status or Status.CRASHED, answer.reason
        if answer.reply["seconds"] is None:
            return Status.CRASHED, answer.reply["reason"]
        samples.append(answer.reply)
        return None

    def _renew(self, name: str, answer: Answer) -> None:
        """Start a new process of an arm if its answer was lost. Raises Stopped if stopped."""
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
    """Return the columns that change in the row of an arm that failed while it was sampled."""
    return {"status": str(status), "reason": one_line(reason)}


def _as_verified(reply: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that change in a row after the output of its last sample was verified.

    The result is empty if the worker is of an older revision, which does not verify this output.
    """
    verified = reply.get("verified")
    if verified is None:
        return {}
    text = {"status": verified["status"], "reason": one_line(verified["reason"])}
    return {**verified["values"], **text}
