"""The comparison of a cell's outputs with the reference: what is computed once, and what again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest
import torch
from helpers.cells import CELL

from mssbench.measure.checker import Checker
from mssbench.measure.inputs import Input
from mssbench.measure.prepared import prepared
from mssbench.measure.session import Session
from mssbench.methods.pair import Pair

MANY = replace(CELL, backward="loewner", size=40, batch=12)  # eight of twelve are compared


@contextmanager
def checker_of_many() -> Iterator[tuple[Checker, Input, torch.Tensor]]:
    """A checker, the first input of its cell, and a root of it that is right."""
    with prepared(MANY, Session()) as ready:
        assert ready.truth is not None
        assert isinstance(ready.pair, Pair)
        checker = Checker(MANY, ready.pair, ready.rotation, ready.truth, 0.1)
        yield checker, ready.rotation.first, ready.pair.field(ready.rotation.first.a)


def columns(checker: Checker, y: Any, x: Input) -> dict[str, Any]:
    return checker.errors("forward", y, x)


def test_an_equal_root_has_equal_columns_and_another_root_has_its_own() -> None:
    with checker_of_many() as (checker, x, y):
        right = columns(checker, y, x)
        assert columns(checker, y.clone(), x) == right

        doubled = columns(checker, 2 * y, x)
        assert doubled["root_error"] == pytest.approx(1.0)
        assert doubled["residual"] == pytest.approx(3.0)
        assert columns(checker, y, x) == right


def test_the_columns_of_a_root_stay_when_the_method_overwrites_it() -> None:
    with checker_of_many() as (checker, x, y):
        right = columns(checker, y, x)
        kept = y.clone()
        y *= 2
        assert columns(checker, y, x)["root_error"] == pytest.approx(1.0)
        assert columns(checker, kept, x) == right


@pytest.mark.parametrize("bad", [nan, inf])
def test_a_matrix_that_is_not_compared_counts_if_it_is_not_finite(bad: float) -> None:
    with checker_of_many() as (checker, x, y):
        assert columns(checker, y, x)["nonfinite"] == 0
        (unseen, *_) = {*range(MANY.batch)} - {*checker.truth.indices}
        y[unseen, 0, 0] = bad
        assert columns(checker, y, x)["nonfinite"] == 1


def test_a_root_that_is_nan_is_never_taken_for_an_earlier_one() -> None:
    with checker_of_many() as (checker, x, y):
        y[checker.truth.indices[0], 1, 1] = nan
        first, again = columns(checker, y, x), columns(checker, y, x)
        assert first["nonfinite"] == again["nonfinite"] == 1
        assert again["root_error"] != again["root_error"]


def test_no_recorded_graph_is_kept_with_a_root() -> None:
    """It would keep the memory of the first step until the cell ends."""
    with checker_of_many() as (checker, x, _):
        leaf = x.a.detach().requires_grad_()
        y = torch.linalg.cholesky(leaf)
        columns(checker, y, x)
        assert checker._latest is not None
        assert not getattr(checker._latest[0], "requires_grad", False)


def test_columns_that_decide_no_status_are_not_computed_where_they_are_not_asked_for() -> None:
    with checker_of_many() as (checker, x, y):
        brief = checker.errors("step", (y, x.g), x, brief=True)
        assert {*brief} == {"root_error", "nonfinite", "gradient_error", "gradient_nonfinite"}
        assert {*brief} < {*checker.errors("step", (y, x.g), x)}
