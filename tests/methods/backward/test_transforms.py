"""Exact gradients of the transforms of covariance pooling, which are functions of A but no roots.

They are judged by derivatives of the transforms themselves: finite differences in 50 digits, where
the eigenvalues are computed again from moved matrices, and autograd in float64.
"""

import mpmath
import numpy as np
import pytest
import torch

import mssbench
from mssbench.errors import InputError
from mssbench.methods import pair as roots
from mssbench.testing.matrices import (
    cotangent,
    error,
    root_and_gradient,
    rotation,
    symmetric,
    with_spectrum,
)

APART = [1.4, 0.7, 0.2, 0.01]
TIED = [1.4, 0.7, 0.7, 0.01, 0.01]


def gradient(a, g, forward, backward="daleckii_krein", **parameters):
    pair = roots.pair("sqrt", forward, backward, tuple(sorted(parameters.items())))
    return root_and_gradient(pair, torch.as_tensor(a), torch.as_tensor(g))[1].numpy()


def seb(w):
    """The eigenvalues of the result, in the precision of mpmath."""
    phi = mpmath.sqrt(sum(x * mpmath.exp(-2 * x) for x in w))
    return [mpmath.sqrt(x) * (1 + phi) for x in w]


def truncation(drop, least):
    """The same without the smallest, which become a constant."""

    def f(w):
        return [mpmath.sqrt(least)] * drop + [mpmath.sqrt(x) for x in w[drop:]]

    return f


def differences(f, a, g):
    """dL/dA of L = <G, V diag(f(w)) Vᵀ>, by central differences in 50 digits."""
    with mpmath.workdps(50):
        n, step = len(a), mpmath.mpf(10) ** -16
        given, cotangents = mpmath.matrix(a.tolist()), mpmath.matrix(g.tolist())

        def loss(moved):
            w, v = mpmath.eigsy(moved)
            values = f(list(w))
            return sum(values[k] * (v[:, k].T * cotangents * v[:, k])[0] for k in range(n))

        s = np.zeros((n, n))
        for i in range(n):
            for j in range(i + 1):
                change = mpmath.zeros(n)
                change[i, j] = change[j, i] = step
                slope = (loss(given + change) - loss(given - change)) / (2 * step)
                s[i, j] = s[j, i] = slope / (1 if i == j else 2)
        return s


@pytest.mark.parametrize("w", [APART, TIED], ids=["apart", "tied"])
def test_the_gradient_of_seb_is_its_derivative_at_ties_too(w):
    a = np.diag(w)  # so that they tie exactly
    g = cotangent(a.shape)
    assert error(gradient(a, g, "gcp_seb"), differences(seb, a, g)) < 1e-14


@pytest.mark.parametrize(("w", "drop"), [(APART, 1), (APART, 3), (APART, 0), (TIED, 2), (TIED, 4)])
def test_the_gradient_of_truncation_is_its_derivative(w, drop):
    a = np.diag(w)
    g = cotangent(a.shape)
    f = truncation(drop, mpmath.mpf(2) ** -52 * w[0])
    assert error(gradient(a, g, "gcp_truncate", drop=drop), differences(f, a, g)) < 1e-14


@pytest.mark.parametrize(("forward", "given"), [("gcp_seb", {}), ("gcp_truncate", {"drop": 2})])
def test_the_gradient_is_that_of_autograd_where_no_eigenvalues_tie(forward, given):
    a = with_spectrum(APART)
    g = cotangent(a.shape)
    recorded = gradient(a, g, forward, "autodiff", **given)
    assert error(gradient(a, g, forward, **given), recorded) < 1e-13


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(("forward", "given"), [("gcp_seb", {}), ("gcp_truncate", {"drop": 2})])
def test_no_tie_and_no_null_direction_makes_a_nan(forward, given, dtype):
    singular = np.diag([1.0, 0.5, 0.5, 0.0, 0.0])
    for a in (np.eye(5), singular, np.zeros((5, 5)), 1e-30 * np.eye(5)):
        a, g = a.astype(dtype), cotangent(a.shape).astype(dtype)
        assert np.isfinite(gradient(a, g, forward, **given)).all()
    large = (200 * np.eye(5)).astype(dtype)  # of which e^{-w} is 0 in float32
    assert np.isfinite(gradient(large, cotangent((5, 5)).astype(dtype), forward, **given)).all()
    recorded = gradient(np.eye(5), cotangent((5, 5)), forward, "autodiff", **given)
    assert np.isnan(recorded).any()  # why these have a gradient of their own


def test_a_tie_across_the_cut_counts_for_nothing():
    a = np.diag([2.0, 1.0, 1.0])
    s = gradient(a, np.ones((3, 3)), "gcp_truncate", drop=1)
    assert sorted(abs(s[1:, 1:].ravel())) == pytest.approx([0, 0, 0, 0.5])
    assert s[0, 1:] != pytest.approx(0)


def test_the_gradient_of_a_multiple_of_the_identity_in_closed_form():
    c, n = 0.3, 4
    g = cotangent((n, n))
    phi = np.sqrt(n * c) * np.exp(-c)
    slope = (1 - 2 * c) * np.exp(-2 * c) / (2 * phi)
    due = (1 + phi) * g / (2 * np.sqrt(c)) + np.trace(g) * np.sqrt(c) * slope * np.eye(n)
    assert error(gradient(c * np.eye(n), g, "gcp_seb"), due) < 1e-14


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("forward", ["gcp_seb", "gcp_truncate"])
def test_the_gradient_to_the_features_is_right_for_fewer_samples_than_dimensions(forward, dtype):
    random = np.random.default_rng(0)
    x = random.standard_normal((24, 10))
    g = symmetric(random.standard_normal((24, 24)))
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    null = np.eye(24) - u @ u.T
    w = s**2 / 10
    d, given = np.sqrt(w), {}
    if forward == "gcp_seb":
        weights = np.exp(-2 * w)
        phi = np.sqrt((w * weights).sum())
        factor, shared = 1 + phi, (np.diag(u.T @ g @ u) * d).sum()
        more = shared * (1 - 2 * w) * weights / (2 * phi)
        least = 0.0
    else:
        given, factor, more, least = {"drop": 14}, 1.0, np.zeros(10), np.finfo(dtype).eps * w[0]
    # d(Y)/dA between range and null space is (f_i - f_0) / w_i
    inside = factor * (u.T @ g @ u) / (d[:, None] + d[None, :]) + np.diag(more)
    across = null @ g @ u * ((factor * d - np.sqrt(least)) / w)
    due = 2 / 10 * (u @ inside + across) @ u.T @ x

    pair = roots.pair("sqrt", forward, "daleckii_krein", tuple(given.items()))
    leaf = torch.tensor(x.astype(dtype), requires_grad=True)
    (pair(leaf @ leaf.mT / 10) * torch.tensor(g.astype(dtype))).sum().backward()
    assert error(leaf.grad.double().numpy(), due) < {"float64": 1e-13, "float32": 1e-5}[dtype]


def test_the_gradient_is_refused_for_a_forward_that_is_a_root():
    a = torch.eye(3, requires_grad=True)
    with pytest.raises(InputError, match="eigh does not yield differential, which daleckii_krein"):
        mssbench.sqrtm(a, forward="eigh", backward="daleckii_krein")


def test_a_second_derivative_is_refused_as_the_pair_solves_no_equation():
    a = torch.tensor(symmetric(rotation(3) + 4 * np.eye(3)), requires_grad=True)
    y = mssbench.sqrtm(a, forward="gcp_seb", backward="daleckii_krein")
    (s,) = torch.autograd.grad(y.sum(), a, create_graph=True)
    with pytest.raises(InputError, match="no second derivative"):
        torch.autograd.grad(s.sum(), a)
    mapped = torch.func.vmap(
        torch.func.grad(
            lambda x: mssbench.sqrtm(x, forward="gcp_seb", backward="daleckii_krein").sum()
        )
    )(a.detach()[None])
    assert torch.allclose(mapped[0], s)
