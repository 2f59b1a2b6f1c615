"""The error columns, against the same quantities written out one matrix at a time."""

import math
from typing import Any

import numpy as np
import pytest
from helpers.truths import truth_of

from mssbench import problems
from mssbench.measure import verification
from mssbench.measure.comparisons import product, relative
from mssbench.problems import features

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
    found = relative(
        np.concatenate([np.full((1, 2, 2), difference), others]),
        np.concatenate([np.full((1, 2, 2), exact), others]),
    )
    assert found == due


def _parts(weights: list[float]) -> np.ndarray:
    """(3, 5, 5): the right roots of TRUTH, each eigenvalue times its weight, smallest first."""
    _, right = _root_with_noise()
    w, v = np.linalg.eigh(right)
    return np.asarray((v * (w * weights)[:, None, :]) @ v.swapaxes(1, 2))


def test_the_tail_weight_is_the_share_of_the_small_eigenvalues_by_their_share_in_the_root() -> None:
    def weight(*weights: float) -> float:
        return float(TRUTH.root_errors(_parts([*weights]))["tail_weight"])

    assert weight(1, 1, 1, 1, 1) == pytest.approx(1, abs=1e-12)
    # one number times the whole root amplifies nothing in it
    assert weight(3, 3, 3, 3, 3) == pytest.approx(1, abs=1e-12)
    assert weight(0, 0, 1, 1, 1) == pytest.approx(0, abs=1e-12)  # 2 of 5 are the smaller half
    assert weight(1, 1, 0, 1, 1) > 1
    _, right = _root_with_noise()
    w = np.linalg.eigvalsh(right)
    tail, whole = w[:, :2].sum(1), w.sum(1)
    due = 2 * tail / (whole + tail) * whole / tail
    assert weight(2, 2, 1, 1, 1) == pytest.approx(max(due))  # the farthest from 1


def test_the_tail_of_a_singular_matrix_is_that_of_its_range() -> None:
    truth = truth_of("sqrt", "wishart(ratio=0.5)", 8, 2, "float32")  # 4 samples: rank 3
    right = np.empty((2, 8, 8))
    right[list(truth.indices)] = truth.reference.sqrt
    w, v = np.linalg.eigh(right)

    def weight(k: int, by: float) -> float:
        changed = w.copy()
        changed[:, k] *= by
        found = truth.root_errors((v * changed[:, None, :]) @ v.swapaxes(1, 2))
        return float(found["tail_weight"])

    assert weight(5, 0.0) == pytest.approx(0, abs=1e-6)  # 1 of 3 is the smaller half
    assert weight(6, 0.0) > 1
    assert weight(5, 1.0) == pytest.approx(1, abs=1e-6)


def test_the_amplification_is_that_of_the_whole_gradient_whatever_is_right() -> None:
    truth = truth_of("sqrt", "wishart(ratio=0.5)", 8, 2, "float64")
    s = np.random.default_rng(3).standard_normal((2, 8, 8))
    s[1] *= 1e9

    found = truth.gradient_errors(s)

    due = [_norm(s[i]) / _norm(g) for i, g in zip(truth.indices, truth.g, strict=True)]
    assert found["amplification"] == pytest.approx(max(due))
    assert "amplification" not in truth.root_errors(s)


def test_features_have_an_amplification_and_a_tail_as_matrices_have() -> None:
    made = problems.make("wishart(ratio=0.5)", 8, 2, seed=0)
    x = features.features("wishart(ratio=0.5)", 8, 2, 0)
    truth = verification.truth_of("sqrt_x", x, made.cotangent, "float64", 0.0)
    right = np.empty((2, 8, 8))
    right[list(truth.indices)] = truth.reference.sqrt
    w, v = np.linalg.eigh(right)
    w[:, 5] = 0  # the smaller half of 3
    assert truth.root_errors(right)["tail_weight"] == pytest.approx(1, abs=1e-9)
    changed = (v * w[:, None, :]) @ v.swapaxes(1, 2)
    assert truth.root_errors(changed)["tail_weight"] == pytest.approx(0, abs=1e-9)

    s = np.random.default_rng(5).standard_normal(x.shape)
    due = [_norm(s[i]) / _norm(made.cotangent[i]) for i in truth.indices]
    assert truth.gradient_errors(s)["amplification"] == pytest.approx(max(due))


def test_a_gradient_to_features_is_compared_without_what_would_raise_the_rank() -> None:
    """Four samples of rank three in eight dimensions: their root has a kink in that block."""
    x = features.features("wishart(ratio=0.5)", 8, 2, 0)
    g = problems.make("wishart(ratio=0.5)", 8, 2, 0).cotangent
    truth = verification.truth_of("sqrt_x", x, g, "float64", 0.0)
    right = truth.gradient
    assert truth.null is not None
    assert truth.unused is not None

    noise = 100 * np.random.default_rng(0).standard_normal(right.shape)
    excluded = truth.null @ noise @ truth.unused
    assert np.abs(excluded).max() > 1
    assert truth.gradient_errors(right + excluded)["gradient_error"] < 1e-12
    assert truth.gradient_errors(right + noise - excluded)["gradient_error"] > 1
