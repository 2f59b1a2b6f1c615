"""The matrix logarithm: against mpmath, and its gradient at ties."""

import numpy as np
import pytest
import torch

import mssbench
from mssbench.errors import InputError
from mssbench.problems.reference import logarithm
from mssbench.testing.matrices import cotangent, error, rotation, spectrum, with_spectrum

KINDS = ("near_one", "condition_1e6", "ties")


def eigenvalues(kind, n=5):
    return np.array([1.0, 1.0, 2.0, 2.0, 5.0]) if kind == "ties" else spectrum(kind, n)


def matrices(kind="near_one", batch=3):
    return with_spectrum(eigenvalues(kind), batch=batch)


def exact(a):
    """log A by mpmath, in 40 digits."""
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(40):
        w, v = mpmath.eigsy(mpmath.matrix(a.tolist()))
        log = v * mpmath.diag([mpmath.log(x) for x in w]) * v.T
        return np.array(log.tolist(), dtype=float)


def gradient(a, g):
    """By central differences of 40 digits, an entry after the other."""
    mpmath = pytest.importorskip("mpmath")
    n = len(a)
    s = np.zeros((n, n))
    with mpmath.workdps(40):
        h = mpmath.mpf(10) ** -14

        def log(x):
            w, v = mpmath.eigsy(x)
            return v * mpmath.diag([mpmath.log(each) for each in w]) * v.T

        for i in range(n):
            for j in range(i + 1):
                step = mpmath.zeros(n)
                step[i, j] = step[j, i] = h
                x = mpmath.matrix(a.tolist())
                slope = (log(x + step) - log(x - step)) / (2 * h)
                total = sum(
                    mpmath.mpf(float(g[k, m])) * slope[k, m] for k in range(n) for m in range(n)
                )
                s[i, j] = s[j, i] = float(total) / (1 if i == j else 2)
    return s


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("put", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_it_is_that_of_forty_digits(put, kind):
    a = matrices(kind, batch=1)
    found = mssbench.logm(put(a))
    assert type(found) is type(put(a))
    limit = 1e-9 if kind == "condition_1e6" else 1e-13
    assert error(np.asarray(found), exact(a[0])[None]) < limit


@pytest.mark.parametrize("kind", KINDS)
def test_its_gradient_and_the_reference_are_those_of_forty_digits(kind):
    a = matrices(kind, batch=1)
    g = cotangent(a.shape)
    right = gradient(a[0], g[0])[None]
    known = logarithm.solve(a, g)
    assert error(known.gradient, right) < max(known.error_gradient, 1e-12)
    assert error(known.log, exact(a[0])[None]) < max(known.error_log, 1e-14)
    assert known.error_gradient < 1e-7

    x = torch.tensor(a, requires_grad=True)
    (s,) = torch.autograd.grad(mssbench.logm(x), x, torch.tensor(g))
    assert error(s.numpy(), right) < (1e-8 if kind == "condition_1e6" else 1e-12)
    assert (s == s.mT).all()


def test_derivatives_at_ties_in_reverse_and_in_forward_mode():
    a = torch.tensor(matrices("ties"), requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: mssbench.logm((x + x.mT) / 2), a, check_forward_ad=True
    )
    mapped = torch.func.vmap(torch.func.jacrev(mssbench.logm))(a.detach())
    forward = torch.func.vmap(torch.func.jacfwd(mssbench.logm))(a.detach())
    assert error(mapped.reshape(1, 3, -1).numpy(), forward.reshape(1, 3, -1).numpy()) < 1e-12


@pytest.mark.parametrize(
    "second",
    [
        lambda f, a: torch.autograd.functional.hessian(f, a),
        lambda f, a: torch.func.jacrev(torch.func.grad(f))(a),
    ],
    ids=["autograd", "func"],
)
def test_a_second_derivative_is_an_error_and_no_zero(second):
    with pytest.raises(InputError, match="first derivatives alone"):
        second(lambda x: mssbench.logm(x).trace(), torch.eye(3) * 2)


def test_distant_eigenvalues_keep_the_digits_of_their_slope():
    w = np.array([1e-8, 1.0])
    a = torch.tensor(np.diag(w), requires_grad=True)
    g = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    (s,) = torch.autograd.grad(mssbench.logm(a), a, g)
    assert s[0, 1].item() == pytest.approx(np.log(1e8) / (1 - 1e-8), rel=1e-14)


def test_what_has_no_logarithm_is_not_finite_nor_is_its_gradient():
    for bad in (np.zeros((2, 2)), np.diag([1.0, -1.0])):
        a = torch.tensor(np.stack([np.eye(2), bad]), requires_grad=True)
        log = mssbench.logm(a)
        log.sum().backward()
        assert torch.isfinite(log[0]).all()
        assert torch.isfinite(a.grad[0]).all()
        assert not torch.isfinite(log[1]).all()
        assert not torch.isfinite(a.grad[1]).all()


def test_the_exponential_of_it_is_the_matrix():
    q = rotation(6)
    a = q @ np.diag(np.logspace(-3, 3, 6)) @ q.T
    back = torch.linalg.matrix_exp(mssbench.logm(torch.tensor(a)))
    assert error(back.numpy()[None], a[None]) < 1e-11
