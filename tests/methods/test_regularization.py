"""The options `ridge` and `rtol`: roots of singular matrices on request, with their gradients."""

import warnings

import numpy as np
import pytest
import torch

import mssbench
from mssbench.errors import InputError

ROOTS = {"sqrt": mssbench.sqrtm, "isqrt": mssbench.isqrtm}
POWERS = {"sqrt": 0.5, "isqrt": -0.5}


def features(n=6, samples=3, batch=2, seed=0):
    """X, (batch, n, samples): for fewer samples than dimensions X Xᵀ is singular."""
    return torch.tensor(np.random.default_rng(seed).standard_normal((batch, n, samples)))


def covariance(x):
    return x @ x.mT / x.shape[-1]


def spectral(a, power, rtol=0.0):
    """V diag(w^power) Vᵀ in numpy, with 0 for eigenvalues up to rtol times the largest."""
    w, v = np.linalg.eigh(np.asarray(a, dtype=float))
    kept = w > rtol * w[..., -1:]
    f = np.where(kept, np.where(kept, w, 1.0) ** power, 0.0)
    return (v * f[..., None, :]) @ v.swapaxes(-1, -2)


@pytest.mark.parametrize("function", ROOTS)
def test_a_ridge_is_added_in_units_of_the_mean_eigenvalue(function):
    a = covariance(features())
    mean = np.trace(a.numpy(), axis1=1, axis2=2) / 6
    due = spectral(a + 0.01 * torch.tensor(mean)[:, None, None] * torch.eye(6), POWERS[function])
    found = ROOTS[function](a, ridge=0.01)
    assert found.numpy() == pytest.approx(due, rel=1e-10, abs=1e-12)
    assert ROOTS[function](a.numpy(), ridge=0.01) == pytest.approx(due, rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("function", ROOTS)
def test_a_scaled_matrix_with_a_ridge_has_the_scaled_root(function):
    a, scale = covariance(features()), 4.0**30
    due = ROOTS[function](a, ridge=0.01) * scale ** POWERS[function]
    assert torch.equal(ROOTS[function](a * scale, ridge=0.01), due)


@pytest.mark.parametrize("function", ROOTS)
def test_what_is_up_to_rtol_is_null(function):
    w = torch.tensor([1e-9, 0.0009, 0.002, 1.0], dtype=torch.float64)
    q = torch.linalg.qr(torch.tensor(np.random.default_rng(1).standard_normal((4, 4))))[0]
    a = (q * w) @ q.T
    found = ROOTS[function](a, rtol=1e-3)
    assert found.numpy() == pytest.approx(spectral(a, POWERS[function], 1e-3), rel=1e-10)
    assert torch.linalg.matrix_rank(found) == 2


def test_the_square_of_the_inverse_root_is_the_pseudo_inverse():
    a = covariance(features())
    z = mssbench.isqrtm(a, rtol=1e-6, check=True)
    assert torch.allclose(z @ z, torch.linalg.pinv(a, rtol=1e-6, hermitian=True))


@pytest.mark.parametrize("options", [{"ridge": 0.01}, {"rtol": 1e-6}], ids=str)
@pytest.mark.parametrize("function", ROOTS)
def test_the_gradient_to_the_features_is_that_of_finite_differences(function, options):
    x = features().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ROOTS[function](covariance(x), **options), x)


@pytest.mark.parametrize(
    ("forward", "backward", "more"),
    [
        ("newton_schulz", "autodiff", {"iterations": 20}),
        ("newton_schulz", "lyapunov_newton_schulz", {"iterations": 20, "backward_iterations": 20}),
        ("svd", "svd_trunc", {}),
        ("minimax_hybrid", "loewner", {}),
        ("denman_beavers_product", "kronecker", {}),
    ],
)
@pytest.mark.parametrize("function", ROOTS)
def test_every_pair_takes_a_ridge(function, forward, backward, more):
    x = features(4, 2)
    leaf, due = x.clone().requires_grad_(), x.clone().requires_grad_()
    found = ROOTS[function](covariance(leaf), forward=forward, backward=backward, ridge=0.1, **more)
    right = ROOTS[function](covariance(due), ridge=0.1)
    assert torch.allclose(found, right, rtol=1e-4, atol=1e-5)
    g = torch.tensor(np.random.default_rng(2).standard_normal(found.shape))
    (found * (g + g.mT)).sum().backward()
    (right * (g + g.mT)).sum().backward()
    assert torch.allclose(leaf.grad, due.grad, rtol=1e-3, atol=1e-3 * float(due.grad.abs().max()))


def test_a_ridge_has_derivatives_of_second_order():
    x = features(4, 2).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: mssbench.isqrtm(covariance(x), ridge=0.1), x)


@pytest.mark.parametrize("function", ROOTS)
def test_a_second_derivative_with_rtol_is_refused(function):
    x = features().requires_grad_()
    y = ROOTS[function](covariance(x), rtol=1e-6)
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(InputError, match="a root with rtol has no second derivative"):
        torch.autograd.grad(first.square().sum(), x)


@pytest.mark.parametrize("function", ROOTS)
@pytest.mark.parametrize("exponent", [-26, 26])
def test_rtol_keeps_its_digits_where_the_gradient_is_representable(function, exponent):
    """The gradient of the inverse root goes with the scale to the power of -3/2."""
    x = features()
    scale = 10.0**exponent
    powers = {"sqrt": -0.5, "isqrt": -1.5}
    g = covariance(features(seed=3))
    one, scaled = covariance(x).requires_grad_(), (covariance(x) * scale).float().requires_grad_()
    (ROOTS[function](one, rtol=1e-4) * g).sum().backward()
    lift = 10.0 ** (-exponent * powers[function] - 5 * np.sign(-exponent * powers[function]))
    lift = float(np.clip(lift, 1e-30, 1e30))
    (ROOTS[function](scaled, rtol=1e-4) * (g * lift).float()).sum().backward()
    due = one.grad * scale ** powers[function] * lift
    error = (scaled.grad.double() - due).norm() / due.norm()
    assert error < 1e-4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ridge": -1}, "ridge = -1 is not a number of 0 or more"),
        ({"ridge": "much"}, "ridge = 'much' is not a number"),
        ({"ridge": float("nan")}, "ridge = nan is not a number"),
        ({"rtol": 1.0}, "rtol = 1.0 is not a number from 0 to less than 1"),
        ({"rtol": True}, "rtol = True is not a number"),
        (
            {"rtol": 0.1, "forward": "newton_schulz"},
            "newton_schulz does not yield: take forward eigh",
        ),
        (
            {"rtol": 0.1, "backward": "lyapunov_minimax"},
            "rtol works with backward loewner only, not with lyapunov_mini",
        ),
        ({"rtol": 0.1, "forward": "auto"}, 'name it instead of "auto"'),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_with_a_remedy(options, words):
    with pytest.raises(InputError, match=words):
        mssbench.isqrtm(torch.eye(3).requires_grad_(), **options)


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 1e37), (torch.float16, 2e3)])
def test_a_ridge_is_finite_where_the_trace_is_not(dtype, size):
    a = (torch.eye(64) * size).to(dtype)
    y = mssbench.sqrtm(a, ridge=1e-4, forward="newton_schulz", iterations=5)
    assert y.diagonal().float() == pytest.approx(size**0.5, rel=1e-2)


def test_check_warns_of_no_eigenvalue_that_the_ridge_has_lifted():
    a = torch.diag(torch.tensor([1.0, 1.0, -1e-3]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mssbench.sqrtm(a, ridge=1e-2, check=True)
    with pytest.warns(mssbench.errors.IndefiniteWarning):
        mssbench.sqrtm(a, check=True)


def test_check_asks_for_a_larger_ridge_where_it_is_lost_in_rounding():
    a = torch.ones(3, 3)
    with pytest.raises(InputError, match="ridge=1e-4, or give rtol"):
        mssbench.isqrtm(a, check=True)
    with pytest.raises(InputError, match="Add a larger ridge"):
        mssbench.isqrtm(a, check=True, ridge=1e-9)
    assert mssbench.isqrtm(a, check=True, ridge=1e-3).isfinite().all()
    assert torch.allclose(mssbench.isqrtm(a, check=True, rtol=1e-5), a / 3**1.5)
    assert torch.equal(mssbench.isqrtm(torch.zeros(3, 3), check=True, rtol=1e-5), torch.zeros(3, 3))
