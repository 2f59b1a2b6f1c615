"""What a policy asks for when a run is short of time."""

import pytest

from mssbench.records.policy import Policy
from mssbench.records.timing import StopReason

WHOLE = Policy(min_seconds=1.0, min_samples=10, max_seconds=4.0, warmup_seconds=0.2, interval=0.01)


def test_a_part_of_the_time_keeps_how_precise_and_how_many_samples_are_wanted() -> None:
    half = WHOLE.within(0.5)
    assert (half.min_seconds, half.max_seconds, half.warmup_seconds) == (0.5, 2.0, 0.1)
    assert (half.min_samples, half.interval, half.passes) == (10, 0.01, WHOLE.passes)
    assert WHOLE.within(1.0) == WHOLE


@pytest.mark.parametrize(("share", "count"), [(1.0, 5), (0.25, 3)])
def test_a_slow_call_has_fewer_samples_in_a_part_of_the_time(share: float, count: int) -> None:
    """A call of 0.8 s: five fit into 4 s; into a quarter of that the few of a median."""
    policy, samples = WHOLE.within(share), [0.8]
    while policy.stop(samples, 0.8 * len(samples), 0.8 * len(samples)) is None:
        samples.append(0.8)
    assert len(samples) == count
    assert policy.stop(samples, 0.8 * count, 0.8 * count) is StopReason.TIME
