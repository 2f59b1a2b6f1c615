"""The error columns, against the same quantities written out one matrix at a time."""

import math
from typing import Any

import numpy as np
import pytest
from helpers.truths import truth_of

from mssbench.measure.verification import product, relative

TRUTH = truth_of("sqrt", "wishart(ratio=2)", 5, 3, "float64")


def _norm(matrix: np.ndarray) -> float:
    return math.sqrt(math.fsum(x * x for x in matrix.ravel().tolist()))


def _root_with_noise() -> tuple[np.ndarray, np.ndarray]:
    """A wrong root (b, n, n), and the right one, both in the order of the batch."""
    right = np.empty((3, 5, 5))
    right[list(TRUTH.indices)] = TRUTH.reference.sqrt
    return right + 0.01 * np.random.default_rng(0).standard_normal(right.shape), right


@pytest.mark.parametrize("n", [7, 64, 65, 96])
def test_a_product_is_that_of_its_entries_in_whichever_library_it_is_taken(n: int) -> None:
    x, y, z = np.random.default_rng(n).standard_normal((3, 2, n, n))
    due = np.einsum("mij,mjk,mkl->mil", x, y, z)
    found = product(x, y.swapaxes(1, 2).copy().swapaxes(1, 2), z)
    assert isinstance(found, np.ndarray)
    assert found == pytest.approx(due, rel=1e-12, abs=1e-11)


def test_every_error_of_a_root_is_the_worst_of_its_matrices() -> None:
    wrong, right = _root_with_noise()
    a = right @ right

    found = TRUTH.root_errors(wrong)

    pairs = list(zip(wrong, right, strict=True))
    assert found["root_error"] == pytest.approx(max(_norm(y - x) / _norm(x) for y, x in pairs))
    assert found["root_mae"] == pytest.approx(np.mean([abs(y - x).mean() for y, x in pairs]))
    due = max(_norm(y @ y - x) / _norm(x) for y, x in zip(wrong, a, strict=True))
    assert found["residual"] == pytest.approx(due)
    assert found["asymmetry"] == pytest.approx(max(_norm(y - y.T) / _norm(y) for y in wrong))
    assert found["nonfinite"] == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_error_of_a_root_that_is_not_finite_is_a_number(bad: float) -> None:
    """A column is null then. An asymmetry of 0 would call the root symmetric."""
    wrong, _ = _root_with_noise()
    wrong[1, 2, 3] = bad

    found = TRUTH.root_errors(wrong)

    assert found["nonfinite"] == 1
    for name in ("root_error", "residual", "asymmetry"):
        assert not np.isfinite(found[name]), name


@pytest.mark.parametrize(
    ("difference", "exact", "due"), [(0.0, 0.0, 0.0), (1.0, 0.0, math.inf), (1.0, 2.0, 0.5)]
)
def test_a_zero_matrix_is_right_only_if_it_was_met_exactly(
    difference: float, exact: float, due: Any
) -> None:
    others = np.zeros((1, 2, 2))
    found = relative(np.concatenate([np.full((1, 2, 2), difference), others]),
                     np.concatenate([np.full((1, 2, 2), exact), others]))  # fmt: skip
    assert found == due
