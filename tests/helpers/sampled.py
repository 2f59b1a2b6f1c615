"""A pytest plugin: of a test with many cases a few run by default.

`@pytest.mark.sampled(4)` on a parametrized test leaves four of its cases as they are and marks the
others `slow`, so that the tests of every day meet each kind, and `.ci/run` meets each case.
`@pytest.mark.sampled(4, rest="exhaustive")` is for cases so alike that `.ci/slow` alone runs them.

The few are drawn at random, since a regular choice among the products of several parameters could
leave out all cases with one value of a parameter. The name of the test is the seed, so that every
worker and every run draws the same ones.
"""

import random
from collections.abc import Sequence

import pytest

ELSEWHERE = ("slow", "gate", "exhaustive")  # marks of what the default leaves out already


@pytest.hookimpl(tryfirst=True)  # before the marks choose which tests run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases that are not drawn."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        is_left_out = any(item.get_closest_marker(name) for name in ELSEWHERE)
        if item.get_closest_marker("sampled") and not is_left_out:
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)

    for name, of_one_test in cases.items():
        mark = of_one_test[0].get_closest_marker("sampled")
        assert mark is not None
        for item in _others(name, of_one_test, *mark.args):
            item.add_marker(mark.kwargs.get("rest", "slow"))


def _others(name: str, items: Sequence[pytest.Item], count: int) -> list[pytest.Item]:
    """The cases of a test but for `count` of them. A single case that was asked for stays."""
    drawn = random.Random(name).sample(range(len(items)), min(count, len(items)))
    return [item for number, item in enumerate(items) if number not in drawn]
