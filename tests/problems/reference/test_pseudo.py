"""The reference where small eigenvalues are null by decision."""

import numpy as np
import pytest

from mssbench.errors import Unsupported
from mssbench.problems.reference import pseudo

UNIT = 2.0**-53
POWERS = {"sqrt": 0.5, "isqrt": -0.5}


def features(n=5, samples=3, seed=0):
    return np.random.default_rng(seed).standard_normal((1, n, samples))


def cotangent(n=5, seed=1):
    g = np.random.default_rng(seed).standard_normal((1, n, n))
    return (g + g.swapaxes(1, 2)) / 2


def root_of_features(x, power):
    """(X Xᵀ)^power on the range of X, from the singular vectors of X."""
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    return (u * (s ** (2 * power))[:, None, :]) @ u.swapaxes(1, 2)


@pytest.mark.parametrize("function", POWERS)
def test_root_and_gradient_are_those_of_the_singular_vectors_of_the_features(function):
    x, g, step = features(), cotangent(), 1e-6
    found = pseudo.solve(x @ x.swapaxes(1, 2), g, function, 1e-8, UNIT)
    power = POWERS[function]
    assert found.root == pytest.approx(root_of_features(x, power), rel=1e-10, abs=1e-12)
    to_features = 2 * found.gradient @ x
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        rise = root_of_features(x + moved, power) - root_of_features(x - moved, power)
        assert to_features[place] == pytest.approx(
            (rise * g).sum() / (2 * step), rel=1e-5, abs=1e-6
        )
    assert found.condition == pytest.approx(np.linalg.cond(x[0]) ** 2)
    assert found.identity @ x == pytest.approx(x)
    assert found.a == pytest.approx(x @ x.swapaxes(1, 2))
    assert 0 < found.error < 1e-12


@pytest.mark.parametrize("tie", [0.0, 1e-9, 1e-4])
@pytest.mark.parametrize("function", POWERS)
def test_eigenvalues_that_tie_have_the_slope_between_them(function, tie):
    """The derivative along E_12 + E_21 of a diagonal matrix is the divided difference itself."""
    mpmath = pytest.importorskip("mpmath")
    a = np.diag([0.0, 2.0, 2.0 + tie])[None]
    g = np.zeros((1, 3, 3))
    g[0, 1, 2] = g[0, 2, 1] = 1.0
    found = pseudo.solve(a, g, function, 1e-8, UNIT).gradient[0, 1, 2]
    with mpmath.workdps(40):
        p, w = mpmath.mpf(POWERS[function]), [mpmath.mpf(a[0, 1, 1]), mpmath.mpf(a[0, 2, 2])]
        slope = p * w[0] ** (p - 1)
        due = slope if w[0] == w[1] else (w[1] ** p - w[0] ** p) / (w[1] - w[0])
    assert found == pytest.approx(float(due), rel=1e-9)


def test_an_eigenvalue_at_the_tolerance_has_no_reference():
    a = np.diag([1e-6, 0.5, 1.0])[None]
    with pytest.raises(Unsupported, match="lies at rtol = 1e-06, within rounding"):
        pseudo.solve(a, np.zeros_like(a), "isqrt", 1e-6, 2.0**-24)
    assert pseudo.solve(a, np.zeros_like(a), "isqrt", 1e-5, 2.0**-24).condition == 2.0


def test_a_matrix_of_which_nothing_is_left_has_no_reference():
    a = np.zeros((1, 3, 3))
    with pytest.raises(Unsupported, match="nothing is left"):
        pseudo.solve(a, a, "isqrt", 1e-6, UNIT)
