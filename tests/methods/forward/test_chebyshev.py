"""The Chebyshev series of x^{±1/2}: its scalar law, its rate, its cost and what it refuses."""

import mpmath
import numpy as np
import pytest
import torch
from helpers.matrices import TORCH64, Cost

import mssbench
from mssbench.errors import InputError
from mssbench.methods import pair as roots
from mssbench.methods import registry
from mssbench.methods.forward.chebyshev import coefficients
from mssbench.methods.method import FUNCTIONS
from mssbench.methods.norms import upper_bound
from mssbench.testing.matrices import (
    cotangent,
    error,
    exact_gradient,
    exact_root,
    root_and_gradient,
    rotation,
    spectrum,
    symmetric,
    with_spectrum,
)

functions = pytest.mark.parametrize("function", FUNCTIONS)
POWER = {"sqrt": 0.5, "isqrt": -0.5}


def root_of(a, function="sqrt", **parameters):
    return roots.pair(function, "chebyshev", None, tuple(sorted(parameters.items())))(a)


@functions
@pytest.mark.parametrize("lower", [0.3, 0.01])
def test_the_coefficients_are_the_integrals_of_the_series(function, lower):
    found = coefficients(POWER[function], lower, 6)
    for k, coefficient in enumerate(found):

        def integrand(angle, k=k):
            x = (1 + lower) / 2 + (1 - lower) / 2 * mpmath.cos(angle)
            return x ** POWER[function] * mpmath.cos(k * angle)

        due = mpmath.quad(integrand, [0, mpmath.pi / 2, 3, mpmath.pi]) * (2 if k else 1) / mpmath.pi
        assert coefficient == pytest.approx(float(due), rel=1e-12, abs=1e-14)


@functions
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 9])
def test_a_root_is_the_series_of_its_eigenvalues(function, degree):
    w, v = np.array([4, 1, 1 / 4, 1 / 1000]), rotation(4)  # the last one below `lower`
    a = symmetric((v * w) @ v.T)
    c = upper_bound(a, "trace").item()
    series = np.polynomial.Chebyshev(coefficients(POWER[function], 0.05, degree), domain=[0.05, 1])
    due = (v * (series(w / c) * c ** POWER[function])) @ v.T
    found = root_of(a, function, degree=degree, lower=0.05, norm="trace")
    assert error(found, due) < 1e-13


@functions
def test_the_error_falls_at_the_rate_of_the_docstring(function):
    lower = 0.04
    w = np.linspace(lower, 1, 500)
    rate = (1 + np.sqrt(lower)) / (1 - np.sqrt(lower))
    worst = []
    for degree in (20, 40):
        series = np.polynomial.Chebyshev(
            coefficients(POWER[function], lower, degree), domain=[lower, 1]
        )
        worst.append(abs(series(w) * w ** -POWER[function] - 1).max())
    assert (worst[0] / worst[1]) ** (1 / 20) == pytest.approx(rate, rel=0.05)


@functions
def test_root_and_gradient_are_exact_at_a_high_degree(function):
    a = with_spectrum(spectrum("condition_100", 6))
    g = cotangent(a.shape)
    given = (("degree", 300), ("lower", 2e-3))
    y = roots.pair(function, "chebyshev", None, given)(a)
    assert error(y, exact_root(a, function)) < 1e-10
    for backward in ("autodiff", "loewner"):
        pair = roots.pair(function, "chebyshev", backward, given)
        _, s = root_and_gradient(pair, torch.tensor(a), torch.tensor(g))
        assert error(s.numpy(), exact_gradient(a, g, function)) < 1e-8


def test_a_series_is_better_than_taylor_at_equal_products_where_its_interval_fits():
    a = with_spectrum(np.geomspace(1, 1e-2, 16))
    exact = exact_root(a, "sqrt")
    taylor = roots.pair("sqrt", "taylor", None, (("degree", 20), ("norm", "min_ws_minc")))(a)
    assert error(root_of(a, degree=20, lower=0.005), exact) < error(taylor, exact) / 5


@pytest.mark.parametrize(("degree", "products"), [(2, 1), (3, 2), (20, 19)])
def test_each_root_takes_its_own_products(degree, products):
    forward = registry.lookup("forward", "chebyshev")
    a = TORCH64.put(with_spectrum(spectrum("near_one", 4)))
    with Cost() as one:
        forward.call(a, frozenset(["isqrt"]), degree=degree)
    with Cost() as both:
        forward.call(a, frozenset(FUNCTIONS), degree=degree)
    assert (one.total, both.total) == (products, 2 * products)


@pytest.mark.parametrize("lower", [0.0, 1.0, -0.5])
def test_an_interval_that_is_none_is_refused(lower):
    with pytest.raises(InputError, match=rf"^lower = {lower} of chebyshev is not between 0 and 1"):
        mssbench.isqrtm(torch.eye(3), forward="chebyshev", lower=lower)
