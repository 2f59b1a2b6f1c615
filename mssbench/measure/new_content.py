"""Detect methods that remember their answers, by calls on matrices that they have not seen.

The calls of a cell (methods, problem, size, ...) take a few different inputs in turn. A method that
stores the answer to each of them would look up correct answers from the second turn on, and its
time would be that of a lookup. A sample is a number of calls that are timed together. One of them,
at a random position, therefore gets new content: matrices that the method has not seen before in
this process. Its output is verified as it was when the call returned, and its time is compared with
that of the other calls.
"""

import random
from collections.abc import Callable, Mapping

# Imported by name, so that a method that replaces it in `time` does not change it here.
from time import perf_counter
from typing import Any, NamedTuple

from mssbench.measure.inputs import Input, Rotation
from mssbench.measure.phases import Calls
from mssbench.records import units
from mssbench.records.timing import quantile

# Largest ratio of the time on new content to that on content seen before. The time of a computation
# does not depend that much on its content.
_LONGER = 2.0
# Seconds by which a call on new content may always be longer: the first of several calls this short
# is slower than the others.
_NEVER_MATTERS = 20e-6
# Least number of calls on new and on seen content from which a suspicion may follow; the calls that
# decide it are made afterwards, so that one is enough.
_FEWEST = 1
# Pairs of calls that decide whether a suspicion holds: one fast call on new content refutes it.
_PAIRS = 5

Verify = Callable[[Any, Input, Any], Mapping[str, Any]]  # (output, its input, copies) -> errors


class CallInput(NamedTuple):
    """What one call consumes, and the input from which it was prepared."""

    input: Input
    what: Any


class NewContent:
    """Prepares the samples of one row; in each, one call gets matrices that are new to the method.

    These matrices are called new content, and the others content seen before.

    rotation: makes the inputs.
    calls: the calls of the phase.
    pick: copies the part of an output that is verified.
    verify: returns the errors of an output; it may raise.
    turn: how many of the inputs are used in turn; 0 means all.
    on_host: whether a call has done its work when it returns, so that it can be timed by itself.
    """

    def __init__(
        self,
        rotation: Rotation,
        calls: Calls,
        pick: Callable[[Any, Input], Any],
        verify: Verify,
        turn: int,
        *,
        on_host: bool,
    ) -> None:
        # Input and output of the latest call on content seen before.
        self.last: tuple[Input, Any] = (rotation.first, None)
        self.errors: dict[str, Any] = {}  # by column, the largest of all verified outputs
        self._rotation, self._calls, self._turn = rotation, calls, turn
        self._pick, self._verify, self._on_host = pick, verify, on_host

        # A generator of its own, since a method may set the seed of a shared one.
        self._random = random.Random()  # noqa: S311

        self._is_new = True  # whether the latest content from the rotation had not occurred before
        self._new: Input | None = None  # the new content of the present sample, if any
        self._count, self._samples = 1, 0
        self._output: Any = None
        self._copies: Any = None
        self._copying, self._taken = 0.0, 0.0  # seconds of copying its output, and of its call
        self.was_called_again = False  # whether `suspicion` has made calls of its own
        self._seconds_new: list[float] = []
        self._seconds_seen: list[float] = []

    def prepare(self) -> CallInput:
        """Prepare the next call with one of the rotating inputs."""
        x = self._rotation.next(self._turn)
        return CallInput(x, self._calls.prepare(x))

    def prepare_sample(self, count: int) -> list[CallInput]:
        """Prepare the calls of a sample, one of them with new content.

        count: number of calls. If it is 1, about half of the samples have new content.
        """
        self._count, self._new, self._copying, self._taken = count, None, 0.0, 0.0
        new_position = self._random.randrange(count) if count > 1 else self._place_of_one_call()
        self._samples += 1
        return [self._prepare_new() if i == new_position else self.prepare() for i in range(count)]

    def _place_of_one_call(self) -> int:
        """Return 0 if the only call of a sample gets new content, and -1 if it does not.

        Of the first three samples only the second gets it; of later ones about half do, at random.
        """
        if self._samples < 3:  # a row may have only three samples, so the second has new content
            return 0 if self._samples == 1 else -1
        return self._random.randint(-1, 0)

    def _prepare_new(self) -> CallInput:
        """Prepare a call with new content."""
        self._new = self._rotation.new()
        # All contents of a tiny batch may have been used. A method that remembers answers is then
        # fast on this one too, so that its time shows nothing.
        self._is_new = not self._rotation.repeats
        return CallInput(self._new, self._calls.prepare(self._new))

    def call(self, prepared: CallInput) -> None:
        """Make the call that is timed. On the CPU, an output on new content is copied at once."""
        if prepared.input is not self._new:
            self.last = prepared.input, self._calls.call(prepared.what)
            return

        start = perf_counter()
        output = self._calls.call(prepared.what)
        end = perf_counter()
        self._output, self._taken = output, end - start

        if self._on_host:  # at once, so that a thread of the method cannot complete it later
            try:
                self._copies = self._pick(output, prepared.input)
            except Exception:  # the output is not an array, which `verify` reports
                self._copies = None
            self._copying = perf_counter() - end

    def settle(self, seconds: float) -> float:
        """Verify the output on new content. Return the seconds of the sample without the copying.

        seconds: of the whole sample, as measured.
        """
        seconds = max(seconds - self._copying, 0.0)
        if self._new is None:
            self._seconds_seen.append(seconds / self._count)
            return seconds

        if self._count == 1 and self._is_new:
            self._seconds_new.append(seconds)
        elif self._count > 1 and self._on_host:
            if self._is_new:
                self._seconds_new.append(self._taken)
            self._seconds_seen.append((seconds - self._taken) / (self._count - 1))

        self._keep_worst(self._verify(self._output, self._new, self._copies))
        self._new = self._output = self._copies = None
        return seconds

    def _keep_worst(self, errors: Mapping[str, Any]) -> None:
        """Keep the larger of each error and the largest one so far."""
        for name, value in errors.items():
            known = self.errors.get(name, value)
            # NaN counts as the worst; every comparison with it is false.
            self.errors[name] = known if known != known or known >= value else value

    def suspicion(self, synchronize: Callable[[], None], *, always: bool = False) -> str:
        """Return why the method seems to remember answers; empty if it does not.

        A few more calls decide this if the times in the samples raise a suspicion. On a GPU these
        calls are always made, since the GPU works on after a call has returned, so that one call of
        a sample cannot be timed.

        synchronize: waits until the device has completed its work.
        always: whether to make the calls without a suspicion too, because no sample had new
            content.
        """
        if self._on_host and not always and not self._is_suspected():
            return ""

        new, seen = list[float](), list[float]()
        for _ in range(_PAIRS):
            seen.append(self._seconds(self.prepare(), synchronize))
            seconds = self._seconds(self._prepare_new(), synchronize)
            if not self._is_new:
                break
            new.append(seconds)
            if seconds <= _longest(min(seen)):
                return ""  # the answer was computed, since that took no longer

        new = new or self._seconds_new  # all contents have been used, so the samples decide
        if not new or min(new) <= _longest(quantile(sorted(seen), 0.5)):
            return ""

        return (
            f"{units.seconds(min(new))} for matrices that the method had not seen, "
            f"{units.seconds(quantile(sorted(seen), 0.5))} for those seen before: it remembers "
            "answers"
        )

    def _is_suspected(self) -> bool:
        """Whether calls on new content took longer in the samples.

        Their lower quartile is compared with the median of calls on content seen before, so that a
        few disturbed calls do not decide.
        """
        new, seen = sorted(self._seconds_new), sorted(self._seconds_seen)
        if min(len(new), len(seen)) < _FEWEST:
            return False
        return quantile(new, 0.25) > _longest(quantile(seen, 0.5))

    def _seconds(self, prepared: CallInput, synchronize: Callable[[], None]) -> float:
        """Make one call and return its seconds. Its output is verified if its content is new."""
        is_new = prepared.input is self._new
        self.was_called_again = True

        synchronize()
        start = perf_counter()
        output = self._calls.call(prepared.what)
        end = perf_counter()

        # Copied on the stream of the call, so that another stream cannot complete the output later.
        copies = self._pick(output, prepared.input) if is_new else None
        if not self._on_host:
            synchronize()
            end = perf_counter()

        if is_new:
            self._keep_worst(self._verify(output, prepared.input, copies))
        return end - start


def _longest(seconds: float) -> float:
    """Return the longest time allowed on new content if a call on seen content takes `seconds`."""
    return _LONGER * seconds + _NEVER_MATTERS
