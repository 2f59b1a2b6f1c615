"""A pytest plugin: of a test with many cases, only a few run by default.

`@pytest.mark.sampled(4)` on a parametrized test lets four of its cases run by default and marks the
others `slow`, so that `.ci/run` still runs each case. `@pytest.mark.sampled(4, slow=10)` lets ten
of those be slow and marks the rest `exhaustive`, which only `.ci/slow` runs; `slow=0` is for cases
that are very much alike. `@pytest.mark.sampled(slow=10)` changes nothing about what runs by
default, for a test that has marks of its own.

The cases are drawn at random. A regular choice could leave out every case that has a certain value
of one parameter. The name of the test is the seed, so that every worker and every run draws the
same cases.
"""

import random
from collections.abc import Sequence

import pytest

ELSEWHERE = ("slow", "gate", "exhaustive")  # marks of tests that do not run by default anyway


@pytest.hookimpl(tryfirst=True)  # before the marks decide which tests run
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases that are not drawn."""
    cases: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("sampled"):
            cases.setdefault(item.nodeid.partition("[")[0], []).append(item)

    for name, of_one_test in cases.items():
        mark = of_one_test[0].get_closest_marker("sampled")
        assert mark is not None
        for count in mark.args:
            by_default = [item for item in of_one_test if not _marks(item) & {*ELSEWHERE}]
            _spare(name, by_default, count, "slow")
        if "slow" in mark.kwargs:
            slow = [item for item in of_one_test if _marks(item) & {*ELSEWHERE} == {"slow"}]
            _spare(name, slow, mark.kwargs["slow"], "exhaustive")


def _marks(item: pytest.Item) -> set[str]:
    return {mark.name for mark in item.iter_markers()}


def _spare(name: str, items: Sequence[pytest.Item], count: int, mark: str) -> None:
    """Mark all but `count` of these cases of the test `name`."""
    drawn = random.Random(name).sample(range(len(items)), min(count, len(items)))
    for number, item in enumerate(items):
        if number not in drawn:
            item.add_marker(mark)
