"""Whether a method computes its answers or remembers them: calls on content that is new to it.

The inputs of a cell rotate, so a method that keeps an answer for each content it has met is right
every time after the first turn, and is timed looking answers up. Therefore one call at a random
place of each sample has new content. Its output is verified as it was when the call returned, and
its time is compared with that of the others.
"""

import random
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mssbench import units
from mssbench.measure.inputs import Input, Rotation
from mssbench.measure.phases import Calls
from mssbench.records.timing import quantile

_LONGER = 2.0  # times the time of a call on content seen before: no computation depends so much
# Seconds that a call may be longer anyway: of calls this short the first of a kind is slower.
_NEVER_MATTERS = 20e-6
_FEWEST = 2  # calls of either kind from which a suspicion can come
_PAIRS = 5  # calls of either kind that decide whether it holds

Verify = Callable[[Any, Input, Any], Mapping[str, Any]]  # output, its input, copies -> errors


class CallInput(NamedTuple):
    """What one call consumes, and which of the inputs it is made of."""

    input: Input
    what: Any


class NewContent:
    """Slips new content into the samples of one row.

    rotation: where the inputs come from. calls: of the phase. pick: copies of an output what is
    verified of it. verify: the errors of an output, which may raise. turn: see Rotation.next.
    on_host: whether a call has done its work when it returns, and so can be timed by itself.
    """

    def __init__(
        self, rotation: Rotation, calls: Calls, pick: Callable[[Any, Input], Any], verify: Verify,
        turn: int, *, on_host: bool,
    ) -> None:  # fmt: skip
        self.last: tuple[Input, Any] = (
            rotation.first,
            None,
        )  # input and output of the latest call, but for new content
        self.errors: dict[str, Any] = {}  # the worst of every output that was verified
        self._rotation, self._calls, self._turn = rotation, calls, turn
        self._pick, self._verify, self._on_host = pick, verify, on_host
        # Of its own, as a method may set the seed of the shared generators.
        self._random = random.Random()  # noqa: S311
        self._new: Input | None = None  # of the sample that is being taken
        self._count, self._samples = 1, 0
        self._output: Any = None
        self._copies: Any = None
        self._own, self._taken = 0.0, 0.0  # seconds of the copies, and of the call
        self._seconds_new: list[float] = []
        self._seconds_seen: list[float] = []

    def prepare(self) -> CallInput:
        """What the next call consumes: one of the rotating inputs."""
        x = self._rotation.next(self._turn)
        return CallInput(x, self._calls.prepare(x))

    def prepare_sample(self, count: int) -> list[CallInput]:
        """What the calls of a sample consume.

        Where a sample has one call only, that one has new content in about half of the samples.
        """
        self._count, self._new, self._own, self._taken = count, None, 0.0, 0.0
        place = self._random.randrange(count) if count > 1 else self._place_of_one_call()
        self._samples += 1
        return [self._prepare_new() if i == place else self.prepare() for i in range(count)]

    def _place_of_one_call(self) -> int:
        """0 where the only call of a sample has new content, else -1."""
        if self._samples < 3:  # so few samples there may be, and one has new content
            return 0 if self._samples == 1 else -1
        return self._random.randint(-1, 0)

    def _prepare_new(self) -> CallInput:
        self._new = self._rotation.new()
        return CallInput(self._new, self._calls.prepare(self._new))

    def call(self, prepared: CallInput) -> None:
        """The call that is timed."""
        if prepared.input is not self._new:
            self.last = prepared.input, self._calls.call(prepared.what)
            return

        start = time.perf_counter()
        output = self._calls.call(prepared.what)
        end = time.perf_counter()
        self._output, self._taken = output, end - start
        if self._on_host:  # now: what a thread has yet to write is not in the copies
            try:
                self._copies = self._pick(output, prepared.input)
            except Exception:  # no array at all: `verify` says what it is
                self._copies = None
            self._own = time.perf_counter() - end

    def settle(self, seconds: float) -> float:
        """The seconds of the sample without those of the copies; verify its output."""
        seconds = max(seconds - self._own, 0.0)
        if self._new is None:
            self._seconds_seen.append(seconds / self._count)
            return seconds
        if self._count == 1:
            self._seconds_new.append(seconds)
        elif self._on_host:
            self._seconds_new.append(self._taken)
            self._seconds_seen.append((seconds - self._taken) / (self._count - 1))
        self._keep_worst(self._verify(self._output, self._new, self._copies))
        self._new = self._output = self._copies = None
        return seconds

    def _keep_worst(self, errors: Mapping[str, Any]) -> None:
        for name, value in errors.items():
            known = self.errors.get(name, value)
            # nan is the worst, and compares as less than nothing
            self.errors[name] = known if known != known or known >= value else value

    def suspicion(self, synchronize: Callable[[], None]) -> str:
        """What speaks for answers that were remembered; empty where nothing does.

        Makes a few calls more where the samples raise that suspicion, and on a device that works
        on its own, where they cannot. synchronize: waits until the device has done all of it.
        """
        if self._on_host and not self._is_suspected():
            return ""
        new, seen = list[float](), list[float]()
        for _ in range(_PAIRS):
            seen.append(self._seconds(self.prepare(), synchronize))
            new.append(self._seconds(self._prepare_new(), synchronize))
            if new[-1] <= _longest(min(seen)):
                return ""  # it was computed, and in no more time
        if min(new) <= _longest(quantile(sorted(seen), 0.5)):
            return ""
        return (
            f"{units.seconds(min(new))} for matrices that it had not seen, "
            f"{units.seconds(quantile(sorted(seen), 0.5))} for those seen before: it remembers "
            "answers"
        )

    def _is_suspected(self) -> bool:
        """Whether new content took longer in the samples.

        A quarter of the one against half of the other: what disturbs some calls decides nothing.
        """
        new, seen = sorted(self._seconds_new), sorted(self._seconds_seen)
        if min(len(new), len(seen)) < _FEWEST:
            return False
        return quantile(new, 0.25) > _longest(quantile(seen, 0.5))

    def _seconds(self, prepared: CallInput, synchronize: Callable[[], None]) -> float:
        """Seconds of one call, whose output is verified if its content is new."""
        is_new = prepared.input is self._new
        synchronize()
        start = time.perf_counter()
        output = self._calls.call(prepared.what)
        end = time.perf_counter()
        # On the stream of the call: what another stream has yet to write is not in the copies.
        copies = self._pick(output, prepared.input) if is_new else None
        if not self._on_host:
            synchronize()
            end = time.perf_counter()

        if is_new:
            self._keep_worst(self._verify(output, prepared.input, copies))
        return end - start


def _longest(seconds: float) -> float:
    """Of a call on new content where one on content seen before takes `seconds`."""
    return _LONGER * seconds + _NEVER_MATTERS
