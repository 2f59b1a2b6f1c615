"""The remedies of ICCV 2021 and TPAMI 2021 for the gradient of an eigendecomposition.

Each replaces K(p, q) = 1 / (p - q) by something of its own, and its gradient is then known entry by
entry: |K| |f(p) - f(q)| in the eigenbasis, 0 at a tie where K is finite.
"""

import numpy as np
import pytest
import torch
from helpers.matrices import TORCH64, Cost

from mssbench.errors import InputError
from mssbench.methods import pair as roots
from mssbench.methods import registry
from mssbench.methods.method import FUNCTIONS, Root
from mssbench.testing.matrices import (
    UNIT,
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
EPS = UNIT["float64"]
REMEDIES = sorted(
    name
    for name in registry.known("backward")
    if name.startswith("svd_") and not name.endswith("_released")  # theirs have tests of their own
)
remedies = pytest.mark.parametrize("name", REMEDIES)
FEW = {"svd_topn": {"tail": 2}}  # fifty, its default, is for larger matrices

# K(p, q) as the literature has it, for p > q.
K = {
    ("svd_original", ()): lambda p, q: 1 / (p - q),
    ("svd_trunc", ()): lambda p, q: 1 / (p - q),
    ("svd_trunc", (("limit", 3.0),)): lambda p, q: np.minimum(1 / (p - q), 3),
    ("svd_clip", ()): lambda p, q: 1 / (p - q),
    ("svd_clip", (("gap", 0.5),)): lambda p, q: 1 / np.maximum(p - q, 0.5),
    ("svd_taylor", ()): lambda p, q: sum((q / p) ** i for i in range(10)) / p,
    ("svd_taylor", (("degree", 0),)): lambda p, q: 1 / p,
    ("svd_taylor", (("degree", 100),)): lambda p, q: sum((q / p) ** i for i in range(101)) / p,
    ("svd_pade", ()): lambda p, q: 1 / (p - q),
    ("svd_pade", (("degree", 0),)): lambda p, q: 1 / p,
    ("svd_pade", (("degree", 1),)): lambda p, q: 1 / (p - q),
    ("svd_power_iteration", ()): lambda p, q: sum((q / p) ** i for i in range(10)) / p,
    ("svd_power_iteration", (("iterations", 0),)): lambda p, q: 1 / p,
}


def gradient(name, a, g, function="sqrt", forward="eigh", **given):
    """s by a decomposition and one of its backwards, float64 numpy."""
    given = {**FEW.get(name, {}), **given}
    prefixed = tuple(sorted((f"backward_{key}", value) for key, value in given.items()))
    pair = roots.pair(function, forward, name, prefixed)
    return root_and_gradient(pair, torch.as_tensor(a), torch.as_tensor(g))[1].numpy()


def loewner_matrix(w, function, k):
    """L from K, (n, n)."""
    f = np.sqrt(w) if function == "sqrt" else 1 / np.sqrt(w)
    p, q = np.maximum.outer(w, w), np.minimum.outer(w, w)
    with np.errstate(all="ignore"):
        ell = k(p, q) * abs(f[:, None] - f[None, :])
    np.fill_diagonal(ell, 0.5 / np.sqrt(w) if function == "sqrt" else 0.5 * w**-1.5)
    return ell if function == "sqrt" else -ell


# ------------------------------------------------------------------------------------ the law of K


@functions
@pytest.mark.parametrize(
    ("method", "k"), K.items(), ids=lambda x: "k" if callable(x) else str(x)[:40]
)
def test_the_gradient_is_the_absolute_k_times_the_gap_of_the_roots(method, k, function):
    name, given = method
    w, v = np.array([4, 1, 1 / 4, 1 / 100]), rotation(4, seed=3)
    a = symmetric((v * w) @ v.T)
    g = v @ np.ones((4, 4)) @ v.T
    expected = loewner_matrix(w, function, k)
    for forward in ("eigh", "svd"):  # ascending and descending eigenvalues
        s = gradient(name, a, g, function, forward, **dict(given))
        assert error(v.T @ s @ v, expected) < 1e-12


@functions
def test_without_a_remedy_the_gradient_is_exact_where_eigenvalues_are_apart(function):
    a = with_spectrum(spectrum("condition_100", 6))
    g = cotangent(a.shape)
    exact = exact_gradient(a, g, function)
    for name in ("svd_original", "svd_trunc", "svd_clip", "svd_pade"):
        assert error(gradient(name, a, g, function), exact) < 1e-13


def test_the_golden_error_of_taylor():
    w, v = np.array([4, 1, 1 / 4, 1 / 100]), rotation(4, seed=3)
    a, g = symmetric((v * w) @ v.T), v @ np.ones((4, 4)) @ v.T
    got = error(gradient("svd_taylor", a, g, degree=9), exact_gradient(a, g, "sqrt"))
    assert got == pytest.approx(1.689e-7, rel=5e-4)


def series(name, r, **given):
    """What a remedy has for 1 / (1 - r): the eigenvalues are 1 and r."""
    s = gradient(name, np.diag([1.0, r]), np.ones((2, 2)), **given)
    return s[0, 1] / (1 - np.sqrt(r))


@pytest.mark.parametrize("degree", [0, 1, 9, 30])
@pytest.mark.parametrize("r", [0.1, 0.5, 0.9])
def test_the_relative_error_of_taylor_is_a_power_of_the_ratio(degree, r):
    got = 1 - series("svd_taylor", r, degree=degree) * (1 - r)
    assert got == pytest.approx(r ** (degree + 1), rel=1e-10, abs=1e-14)


@pytest.mark.parametrize(("r", "lost"), [(0.9, 2.4e-4), (0.99, 36), (0.999, 904)])
def test_taylor_of_degree_100_loses_close_eigenvalues(r, lost):
    got = 1 / (1 - r) - series("svd_taylor", r, degree=100)
    assert got == pytest.approx(lost, rel=1e-2)


@pytest.mark.parametrize("degree", [1, 2, 5, 16, 50, 100])
def test_pade_of_any_degree_is_the_function_itself_up_to_rounding(degree):
    for r in (0.01, 0.1, 0.5, 0.9, 0.99, 0.999):
        assert abs(series("svd_pade", r, degree=degree) - 1 / (1 - r)) < 1e-8  # 1.2e-11 seen


@pytest.mark.parametrize("m", [1, 2, 7, 50])
def test_the_coefficients_of_pade_satisfy_all_its_conditions(m):
    p = np.array([1 - i / m for i in range(m + 1)])
    q = np.array([1.0] + [-1 / m] * m)
    rest = np.convolve(q, np.ones(2 * m + 1))[: 2 * m + 1] - np.pad(p, (0, m))
    assert abs(rest).max() < 1e-14
    conditions = np.ones((m, m))  # all alike: Σ q_i = -1, and this is the shortest solution
    assert q[1:] == pytest.approx(np.linalg.lstsq(conditions, -np.ones(m), rcond=None)[0])


@functions
@pytest.mark.parametrize("k", [0, 1, 9, 20])
def test_power_iteration_is_taylor_by_products(function, k):
    a = with_spectrum([3.0, 2.0, 1.9, 0.5, 0.1])
    g = cotangent(a.shape)
    expected = gradient("svd_taylor", a, g, function, degree=k)
    assert error(gradient("svd_power_iteration", a, g, function, iterations=k), expected) < 1e-13


@functions
def test_power_iteration_finds_the_whole_gradient(function):
    a = with_spectrum(np.geomspace(1, 1e-4, 16))
    g = cotangent(a.shape)
    s = gradient("svd_power_iteration", a, g, function, iterations=60)
    assert error(s, exact_gradient(a, g, function)) < 1e-11


@functions
@pytest.mark.parametrize("norm", ["trace", "frobenius", "min_ws_minc"])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_svd_newton_has_the_gradient_of_newton_schulz_and_the_root_of_svd(function, norm, k):
    a, g = TORCH64.put(with_spectrum(spectrum("condition_100", 6))), cotangent((3, 6, 6))
    steps = (("iterations", k), ("norm", norm))
    pair = roots.pair(function, "newton_schulz", "autodiff", steps)
    _, expected = root_and_gradient(pair, a, TORCH64.put(g))
    assert (
        error(gradient("svd_newton", a, g, function, iterations=k, norm=norm), expected.numpy())
        < 1e-12
    )
    pair = roots.pair(function, "svd", "svd_newton", (("backward_iterations", k),))
    assert error(pair(a), exact_root(a.numpy(), function)) < 1e-13


@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_svd_newton_costs_what_it_declares(k):
    method = registry.lookup("backward", "svd_newton")
    a = TORCH64.put(with_spectrum(spectrum("near_one", 4)))
    root = Root(eigen=tuple(torch.linalg.eigh(a)))
    with Cost() as cost:
        method.call(root, "sqrt", a, iterations=k)
    assert cost.total == method.products(iterations=k, norm="trace") == max(9 * k - 9, 3)


@functions
def test_clip_takes_small_eigenvalues_for_its_smallest(function):
    a, g = np.diag([1.0, 1e-8]), np.ones((2, 2))
    expected = loewner_matrix(np.array([1.0, 1e-3]), function, lambda p, q: 1 / (p - q))
    assert gradient("svd_clip", a, g, function, smallest=1e-3) == pytest.approx(expected, rel=1e-13)
    expected = loewner_matrix(np.array([1.0, 1e-5]), function, lambda p, q: 1 / (p - q))
    assert gradient("svd_clip", a, g, function) == pytest.approx(expected, rel=1e-13)


# --------------------------------------------------------------------------- the tail of svd_topn


@functions
def test_topn_takes_the_smallest_eigenvalues_for_one_constant(function):
    a, g = np.diag([4.0, 2.0, 1.0, 0.5, 0.25]), np.ones((5, 5))
    least = 4 * EPS * 4.0  # what counts as rounding beside 4
    w = np.array([4.0, 2.0, 1.0, least, least])
    expected = loewner_matrix(w, function, lambda p, q: 1 / (p - q))
    expected[3, 4] = expected[4, 3] = 0  # made equal: no pair
    if function == "sqrt":  # to the root they are zeros
        expected[3:, :3] = np.sqrt(w[:3]) / (w[:3] - least)
        expected[:3, 3:] = expected[3:, :3].T
        expected[3, 3] = expected[4, 4] = 0
    for forward in ("eigh", "svd"):
        s = gradient("svd_topn", a, g, function, forward, tail=2)
        assert s == pytest.approx(expected, rel=1e-14)
    whole = gradient("svd_topn", a, g, function, tail=0)
    assert (whole == gradient("svd_original", a, g, function)).all()


def test_topn_refuses_to_abandon_every_eigenvalue():
    a = np.eye(5)
    for tail in (5, 50):
        with pytest.raises(InputError, match=f"abandons {tail} eigenvalues of 5"):
            gradient("svd_topn", a, a, tail=tail)


# ------------------------------------------------------------------------------------------- ties

# What becomes of the gradient at exactly equal eigenvalues, as each docstring says.
NOT_FINITE = ("svd_original", "svd_topn")
LOST = ("svd_trunc", "svd_clip", "svd_taylor", "svd_pade", "svd_power_iteration")


def test_every_remedy_says_what_it_does_at_ties():
    assert sorted([*NOT_FINITE, *LOST, "svd_newton"]) == REMEDIES


@functions
def test_a_multiple_of_the_identity(function):
    a = 2 * np.eye(16)
    g = cotangent(a.shape)
    exact = exact_gradient(a, g, function)
    for name in NOT_FINITE:
        assert not np.isfinite(gradient(name, a, g, function)).all()
    for name in LOST:  # K is 0 at a tie: never the 287 or 1.3e7 of a symmetric one
        s = gradient(name, a, g, function)
        assert error(s, np.diag(np.diag(exact))) < 1e-15
        assert 0.9 < error(s, exact) < 0.96
    for degree in (1, 4, 50):  # whether or not Q(1) comes out as 0
        s = gradient("svd_pade", a, g, function, degree=degree)
        assert error(s, np.diag(np.diag(exact))) < 1e-15
    assert error(gradient("svd_newton", a, g, function), exact) < 1e-14


@functions
def test_equal_eigenvalues_that_are_exactly_equal(function):
    a = np.diag([2.0, 2.0, 1.0, 1.0, 1.0, 0.5])
    w, g = np.diag(a), cotangent(a.shape)
    exact = exact_gradient(a, g, function)
    apart = w[:, None] != w[None, :]
    for name in NOT_FINITE:
        assert not np.isfinite(gradient(name, a, g, function)).all()
    exactly = {"svd_taylor": {"degree": 100}, "svd_power_iteration": {"iterations": 100}}
    for name in LOST:
        s = gradient(name, a, g, function, **exactly.get(name, {}))
        assert error(s, np.where(apart | np.eye(6, dtype=bool), exact, 0)) < 1e-14
    assert error(gradient("svd_newton", a, g, function, iterations=15), exact) < 1e-14


@functions
def test_rounding_between_equal_eigenvalues_stays_where_k_is_bounded(function):
    a = with_spectrum([2.0, 2.0, 1.0, 1.0, 1.0, 0.5])
    g = cotangent(a.shape)
    v = torch.linalg.eigh(torch.tensor(a)).eigenvectors.numpy()  # which of them are arbitrary
    vt = v.swapaxes(-1, -2)
    exact = vt @ exact_gradient(a, g, function) @ v
    w = np.array([0.5, 1.0, 1.0, 1.0, 2.0, 2.0])
    kept = (w[:, None] != w[None, :]) | np.eye(6, dtype=bool)
    for name in ("svd_clip", "svd_taylor", "svd_power_iteration"):
        s = vt @ gradient(name, a, g, function) @ v
        assert abs(np.where(kept, 0, s)).max() < 1e-12
        assert error(np.where(kept, s, 0), np.where(kept, exact, 0)) < 2e-3  # (1/2)^10
    s = vt @ gradient("svd_trunc", a, g, function) @ v
    assert abs(np.where(kept, 0, s)).max() < 1e-4  # 1e10 times rounding
    assert error(gradient("svd_newton", a, g, function, iterations=15), v @ exact @ vt) < 1e-13


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("loewner", 0, 1e-3),
        ("svd_original", 5e-3, 0.5),  # as near eigenvalues round, which differs from CPU to CPU
        ("svd_pade", 5e-3, 0.5),
        ("svd_newton", 0.5, 0.6),
        ("svd_taylor", 0.9, 1),
        ("svd_clip", 0.9, 1),
    ],
)
def test_a_ridge_on_a_rank_deficient_matrix_in_single_precision(name, least, most):
    x = np.random.default_rng(0).standard_normal((3, 64, 32))
    a = symmetric(x @ x.swapaxes(-1, -2) / 32 + 1e-3 * np.eye(64)).astype(np.float32)
    g = cotangent(a.shape).astype(np.float32)
    exact = exact_gradient(a.astype(float), g.astype(float), "sqrt")
    assert least < error(gradient(name, a, g), exact) < most


@pytest.mark.parametrize("degree", [9, 100])
def test_the_null_directions_of_a_singular_matrix_have_no_gradient_among_themselves(degree):
    a, g = np.diag([1.0, 0.5, 0.0, 0.0]), cotangent((4, 4))
    s = gradient("svd_taylor", a, g, degree=degree)
    assert (s[2:, 2:] == 0).all()  # K = (degree + 1) / ε, but f is 0 there
    assert s[0, 2] == pytest.approx(g[0, 2], rel=1e-7)


# -------------------------------------------------------------- what released code was seen to do


@functions
@remedies
def test_a_cotangent_that_is_not_symmetric_counts_by_its_symmetric_part(function, name):
    a = with_spectrum(spectrum("condition_100", 5))
    g = np.random.default_rng(1).standard_normal(a.shape)
    s = gradient(name, a, g, function)
    assert (s == gradient(name, a, symmetric(g), function)).all()
    assert error(s, s.swapaxes(-1, -2)) < 1e-13


@functions
@remedies
def test_a_scaled_matrix_has_a_scaled_gradient_unless_its_bounds_are_absolute(function, name):
    a, g = with_spectrum([4.0, 3.995, 1.0, 0.25, 0.01]), cotangent((3, 5, 5))
    power = 1 if function == "sqrt" else 3
    s = gradient(name, a, g, function)
    for j in (-20, 20):
        scaled = gradient(name, a * 4.0**j, g, function) * 2.0 ** (power * j)
        absolute = name == "svd_clip" or (name == "svd_trunc" and j < 0)  # 1e10 is enough for more
        assert (error(scaled, s) < 1e-9) == (not absolute)


@functions
@remedies
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_gradient_has_the_precision_of_its_input(function, name, dtype):
    a = torch.tensor(with_spectrum(spectrum("near_one", 4)), dtype=dtype)
    g = torch.tensor(cotangent(a.shape), dtype=dtype)
    s = gradient(name, a, g, function)
    assert s.dtype == getattr(np, str(dtype).removeprefix("torch."))
    whole = {"svd_taylor": {"degree": 2000}, "svd_newton": {"iterations": 20}}
    whole["svd_power_iteration"] = {"iterations": 2000}
    if name not in ("svd_clip", "svd_topn"):
        s = gradient(name, a, g, function, **whole.get(name, {}))
        exact = exact_gradient(a.double().numpy(), g.double().numpy(), function)
        assert error(s, exact) < 300 * UNIT[str(dtype).removeprefix("torch.")]


@functions
@remedies
def test_the_eigenpairs_stay_as_they_were_and_nothing_else_is_kept(function, name):
    a = torch.tensor(with_spectrum(spectrum("condition_100", 5), batch=2), requires_grad=True)
    given = tuple((f"backward_{key}", value) for key, value in FEW.get(name, {}).items())
    pair = roots.pair(function, "eigh", name, given)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        y = pair(a)
    kept = [x for x in kept if any(x.stride())]  # without the link to `a`, which has no numbers
    assert [tuple(x.shape) for x in kept] == [(2, 5), (2, 5, 5)]
    before = [x.clone() for x in kept]
    first, second = (torch.autograd.grad(y.sum(), a, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert all(torch.equal(x, y) for x, y in zip(kept, before, strict=True))
