"""Find methods that remember their answers, by calls on content that they have not seen.

The inputs of a cell rotate. A method that stores the answer to each of them would look up correct
answers from the second turn on, and its time would be that of a lookup. Therefore one call at a
random position of each sample gets new content. Its output is verified as it was when the call
returned, and its time is compared with that of the other calls.
"""

import random
from collections.abc import Callable, Mapping

# The function itself: a method that replaces it in the module `time` is timed by this one.
from time import perf_counter
from typing import Any, NamedTuple

from mssbench import units
from mssbench.measure.inputs import Input, Rotation
from mssbench.measure.phases import Calls
from mssbench.records.timing import quantile

# Ratio to the time on content seen before; no computation depends that much on its content.
_LONGER = 2.0
# Seconds by which a call on new content may be longer in any case: where calls are this short, the
# first of a kind is slower.
_NEVER_MATTERS = 20e-6
_FEWEST = 1  # calls of each kind, new and seen content, without which nothing is suspected
_PAIRS = 5  # calls of each kind that decide whether a suspicion holds

Verify = Callable[[Any, Input, Any], Mapping[str, Any]]  # (output, its input, copies) -> errors


class CallInput(NamedTuple):
    """What one call consumes, and the input from which that was prepared."""

    input: Input
    what: Any


class NewContent:
    """Prepares the samples of one row, with new content for one call of each.

    rotation: makes the inputs. calls: of the phase. pick: copies the part of an output that is
    verified. verify: returns the errors of an output; it may raise. turn: how many inputs rotate,
    see Rotation.next. on_host: whether a call has done its work when it returns, so that it can be
    timed by itself.
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
        self.last: tuple[Input, Any] = (
            rotation.first,
            None,
        )  # input and output of the latest call on content seen before
        self.errors: dict[str, Any] = {}  # by name, the worst of all verified outputs
        self._rotation, self._calls, self._turn = rotation, calls, turn
        self._pick, self._verify, self._on_host = pick, verify, on_host
        # Not one of the shared generators, whose seed a method may set.
        self._random = random.Random()  # noqa: S311
        self._is_new = True  # whether the latest new content was not like one before it
        self._new: Input | None = None  # the new content of the present sample, if it has some
        self._count, self._samples = 1, 0
        self._output: Any = None
        self._copies: Any = None
        self._own, self._taken = 0.0, 0.0  # seconds of copying its output, and of its call
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
        self._count, self._new, self._own, self._taken = count, None, 0.0, 0.0
        place = self._random.randrange(count) if count > 1 else self._place_of_one_call()
        self._samples += 1
        return [self._prepare_new() if i == place else self.prepare() for i in range(count)]

    def _place_of_one_call(self) -> int:
        """0 if the only call of a sample gets new content, else -1."""
        if self._samples < 3:  # a row may have so few samples: the second has new content
            return 0 if self._samples == 1 else -1
        return self._random.randint(-1, 0)

    def _prepare_new(self) -> CallInput:
        self._new = self._rotation.new()
        # Of a tiny batch all contents may have been used: then a method that remembers them is
        # fast, and this call says nothing about its time.
        self._is_new = not self._rotation.repeats
        return CallInput(self._new, self._calls.prepare(self._new))

    def call(self, prepared: CallInput) -> None:
        """Make the call that is timed. An output on new content is copied at once, on the CPU."""
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
            except Exception:  # the output is no array: `verify` reports that
                self._copies = None
            self._own = perf_counter() - end

    def settle(self, seconds: float) -> float:
        """Verify the output on new content. Returns the seconds of the sample without its copying.

        seconds: of the whole sample, as measured.
        """
        seconds = max(seconds - self._own, 0.0)
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
        for name, value in errors.items():
            known = self.errors.get(name, value)
            # nan counts as the worst; every comparison with it is false
            self.errors[name] = known if known != known or known >= value else value

    def suspicion(self, synchronize: Callable[[], None], *, always: bool = False) -> str:
        """Why the method seems to remember answers; empty if it does not.

        A few more calls decide this if the times in the samples raise a suspicion. They are always
        made on a GPU, which works on after a call has returned: samples cannot time one call there.
        synchronize: waits until the device has completed its work. always: whether the calls are
        made without a suspicion too, because no sample has had new content.
        """
        if self._on_host and not always and not self._is_suspected():
            return ""
        new, seen = list[float](), list[float]()
        for _ in range(_PAIRS):
            seen.append(self._seconds(self.prepare(), synchronize))
            taken = self._seconds(self._prepare_new(), synchronize)
            if not self._is_new:
                break
            new.append(taken)
            if taken <= _longest(min(seen)):
                return ""  # the answer was computed, since that took no longer
        new = new or self._seconds_new  # every content has been used: the samples decide
        if not new or min(new) <= _longest(quantile(sorted(seen), 0.5)):
            return ""
        return (
            f"{units.seconds(min(new))} for matrices that it had not seen, "
            f"{units.seconds(quantile(sorted(seen), 0.5))} for those seen before: it remembers "
            "answers"
        )

    def _is_suspected(self) -> bool:
        """Whether calls on new content took longer in the samples.

        Their lower quartile is compared with the median of the others, so that a few disturbed
        calls decide nothing.
        """
        new, seen = sorted(self._seconds_new), sorted(self._seconds_seen)
        if min(len(new), len(seen)) < _FEWEST:
            return False
        return quantile(new, 0.25) > _longest(quantile(seen, 0.5))

    def _seconds(self, prepared: CallInput, synchronize: Callable[[], None]) -> float:
        """Seconds of one call. Its output is verified if its content is new."""
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
    """The longest time allowed on new content if a call on seen content takes `seconds`."""
    return _LONGER * seconds + _NEVER_MATTERS
