"""A pytest plugin that runs only a few cases of a test with many, unless all are asked for.

`@pytest.mark.sampled(4)` on a parametrized test leaves four of its cases as they are and marks the
others `slow`. A plain `pytest` then runs a few cases of each kind, and `.ci/run` runs all of them.
`@pytest.mark.sampled(4, rest="exhaustive")` is for cases so alike that only `.ci/slow` runs all.

The cases are drawn at random, because a regular choice among the products of several parameters
could leave out all cases with one value of a parameter. The name of the test is the seed, so that
every worker and every run draws the same cases.
"""

import random
from collections.abc import Sequence

import pytest

ELSEWHERE = ("slow", "gate", "exhaustive")  # marks of tests that a plain `pytest` leaves out anyway


@pytest.hookimpl(tryfirst=True)  # before the marks choose which tests run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases that are not drawn with `slow`, or with the mark in `rest`."""
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
    """All cases of a test but `count`, drawn at random. A case that was selected alone remains."""
    drawn = random.Random(name).sample(range(len(items)), min(count, len(items)))
    return [item for number, item in enumerate(items) if number not in drawn]
