"""Steps in the times of a cell over several runs, from moments made by hand."""

from math import nan

import pytest

from mssbench.report import history
from mssbench.report.history import Moment


def moments(seconds: list[float], gemms: list[float]) -> list[Moment]:
    return [
        Moment(i, f"run{i}", s, 0.99 * s, 1.01 * s, g, "m")
        for i, (s, g) in enumerate(zip(seconds, gemms, strict=True))
    ]


SLOWER = [1.0, 1.0, 2.0, 2.0]


def found(gemms: list[float], seconds: list[float] = SLOWER) -> list[history.Step]:
    return list(history._steps(moments(seconds, gemms)))


def test_a_step_shows_in_the_times_and_in_products() -> None:
    (step,) = found([10, 10, 20, 20])
    assert (step.row, step.ratio, step.ratio_in_products) == (2, 2.0, 2.0)
    assert not found([10, 10, 10, 10])  # the machine became slower as a whole
    assert not found([20, 20, 10, 10])


def test_a_change_in_products_must_be_as_large_as_one_in_time() -> None:
    assert not found([10, 10, 10.2, 10.2])
    assert found([10, 10, 10.6, 10.6])
    assert not found([10.6, 10.6, 10.6, 10.6], [1.06, 1.06, 1.0, 1.0])


@pytest.mark.parametrize("gemms", [[nan] * 4, [nan, nan, 20, 20], [10, 10, nan, nan]])
def test_where_products_are_unknown_the_time_alone_decides_as_the_rule_says(
    gemms: list[float],
) -> None:
    (step,) = found(gemms)
    assert step.ratio == 2.0
    assert step.ratio_in_products != step.ratio_in_products
    assert "unknown before or after the step, the time alone decides" in history.RULE
