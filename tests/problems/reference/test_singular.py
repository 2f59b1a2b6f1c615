"""The part of a gradient that a singular matrix has, and that garbage cannot pass for it."""

import numpy as np
import pytest
import torch
from helpers.truths import truth_of

import mssbench
from mssbench import problems
from mssbench.problems.reference import singular
from mssbench.records.measurement import Status
from mssbench.testing.matrices import cotangent, error, rotation, symmetric

UNIT = 2.0**-53


def rank_deficient(w, n, batch=2):
    v = np.stack([rotation(n, i) for i in range(batch)])
    return symmetric((v[:, :, : len(w)] * np.asarray(w)) @ v[:, :, : len(w)].swapaxes(-1, -2)), v


def test_a_diagonal_matrix_by_hand():
    a, g = np.diag([4.0, 1.0, 0.0])[None], np.ones((1, 3, 3))
    partial = singular.gradient(a, g, UNIT)
    d = [2, 1, 0]
    exact = [[1 / (x + y) if x + y else 0 for x in d] for y in d]
    np.testing.assert_allclose(partial.gradient[0], exact, rtol=1e-14)
    np.testing.assert_allclose(partial.null[0], np.diag([0, 0, 1]), atol=1e-15)


def test_it_is_the_limit_of_regular_matrices_away_from_the_null_block():
    a, v = rank_deficient([3, 2, 1], 5)
    g = cotangent(a.shape)
    partial = singular.gradient(a, g, UNIT)
    null = v[:, :, 3:]
    near = a + 1e-18 * null @ null.swapaxes(-1, -2)
    regular = singular.gradient(near + 1e-10 * null @ null.swapaxes(-1, -2), g, 1e-30).gradient
    kept = regular - partial.null @ regular @ partial.null
    assert error(kept, partial.gradient) < 3e-5  # the root of 1e-10, over the smallest d
    assert np.linalg.norm(partial.null @ regular @ partial.null) > 1e3


def test_what_rounding_can_move_is_stated():
    a, _ = rank_deficient([1, 1e-2], 4)
    single = singular.gradient(a, cotangent(a.shape), 2.0**-24)
    assert single.error == pytest.approx(np.sqrt(4 * 2.0**-24) / 0.1)
    assert singular.gradient(a, cotangent(a.shape), UNIT).error < 1e-6


@pytest.mark.parametrize(
    ("problem", "size"),
    [("wishart(ratio=0.5)", 16), ("wishart(ratio=4)|mixed_batch(bad=singular)", 8)],
)
def test_a_gradient_of_a_singular_matrix_is_judged(problem, size):
    truth = truth_of("sqrt", problem, size, 16, "float64")
    made = problems.make(problem, size, 16, 0)
    a = torch.tensor(made.master, requires_grad=True)
    y = mssbench.sqrtm(a, forward="newton_schulz", iterations=12, backward="autodiff")
    y.backward(torch.tensor(made.cotangent))
    values = truth.root_errors(y.detach()) | truth.gradient_errors(a.grad)
    assert values["gradient_error"] < 1e-9
    assert truth.judge("step", values, 0.1)[0] is Status.OK
    garbage = truth.root_errors(y.detach()) | truth.gradient_errors(1e30 * a.grad)
    assert truth.judge("step", garbage, 0.1)[0] is Status.DIVERGED


def test_an_inverse_root_is_compared_where_it_exists():
    problem = "wishart(ratio=4)|mixed_batch(bad=singular)"
    truth = truth_of("isqrt", problem, 8, 4, "float64")
    assert len(truth.indices) == 3
    assert not truth.reference.singular.any()
