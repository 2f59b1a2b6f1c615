"""The reference of roots of covariances as functions of the features."""

import numpy as np
import pytest

from mssbench.problems.reference import features

UNIT = 2.0**-53


def drawn(n, samples, seed=0):
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal((2, n, samples)), rng.standard_normal((2, n, n))
    return x, (g + g.swapaxes(1, 2)) / 2


def root(x):
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    return (u * s[:, None, :]) @ u.swapaxes(1, 2) / x.shape[-1] ** 0.5


@pytest.mark.parametrize(("n", "samples"), [(5, 3), (3, 5), (4, 4), (1, 2)])
def test_root_and_gradient_are_right(n, samples):
    x, g = drawn(n, samples)
    found = features.solve(x, g, UNIT)
    assert found.root @ found.root == pytest.approx(x @ x.swapaxes(1, 2) / samples, rel=1e-10)
    assert found.a == pytest.approx(x @ x.swapaxes(1, 2) / samples)
    assert not found.unused.any() or not found.outside.any(), "everything is comparable"
    assert 0 < found.error_root < 1e-12
    step = 1e-6
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        slope = ((root(x + moved) - root(x - moved)) * g).sum() / (2 * step)
        assert found.gradient[place] == pytest.approx(slope, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("unit", [UNIT, 2.0**-24])
def test_what_would_raise_the_rank_has_no_derivative_and_is_named(unit):
    """Three samples of rank two in five dimensions; in float32 the third is rounding, no zero."""
    x, g = drawn(5, 3)
    x[:, :, 2] = x[:, :, 0] + (1e-8 if unit > 1e-8 else 0.0) * np.arange(5)
    found = features.solve(x, g, unit)
    assert np.trace(found.outside, axis1=1, axis2=2) == pytest.approx([3, 3])
    assert np.trace(found.unused, axis1=1, axis2=2) == pytest.approx([1, 1])
    assert abs(found.outside @ found.gradient @ found.unused).max() < 1e-6
    assert found.error_gradient >= max(5, 3) * unit
    # The kink: a move out of the range along the unused combination changes the root like |t|.
    outward = (found.outside @ np.ones((2, 5, 1))) @ np.array([[1.0, 0.0, -1.0]])
    up, down = (((root(x + t * outward) - root(x)) * found.outside).sum() for t in (1e-3, -1e-3))
    assert up == pytest.approx(down, rel=0.01)
    assert up > 1e-4


def test_features_of_zeros_have_a_root_of_zeros():
    x, g = drawn(3, 2)
    found = features.solve(0 * x, g, UNIT)
    assert not found.root.any()
    assert not found.gradient.any()
