"""Whitening by a Cholesky factor: against numpy, mpmath and finite differences."""

import numpy as np
import pytest
import torch

import mssbench
from mssbench.errors import InputError, Unsupported
from mssbench.methods.other_functions import other_function
from mssbench.methods.pair import pair
from mssbench.problems.reference import cholesky
from mssbench.testing.matrices import cotangent, error, spectrum, symmetric, with_spectrum


def matrices(n=6, batch=3, kind="near_one"):
    return with_spectrum(spectrum(kind, n), batch=batch)


def whitened(a, w):
    return w @ a @ np.swapaxes(w, -1, -2) - np.eye(a.shape[-1])


@pytest.mark.parametrize("put", [np.array, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_whitens_and_is_lower_triangular(put, dtype):
    a = matrices().astype(dtype)
    w = mssbench.whitening(put(a))
    assert type(w) is type(put(a))
    w = np.asarray(w)
    assert w.dtype == dtype
    assert abs(whitened(a, w)).max() < (1e-14 if dtype == "float64" else 1e-5)
    assert (np.triu(w, 1) == 0).all()
    assert (np.diagonal(w, axis1=1, axis2=2) > 0).all()


def test_it_is_a_rotation_of_the_symmetric_whitening():
    a = matrices()
    rotation = mssbench.whitening(a) @ mssbench.sqrtm(a)
    assert abs(whitened(np.broadcast_to(np.eye(6), a.shape), rotation)).max() < 1e-13


def symmetrized(function):
    return lambda a: function((a + a.mT) / 2)


def test_its_derivatives_of_both_orders_are_those_of_finite_differences():
    a = torch.tensor(matrices(4, 2), requires_grad=True)
    assert torch.autograd.gradcheck(symmetrized(mssbench.whitening), a)
    assert torch.autograd.gradgradcheck(symmetrized(mssbench.whitening), a)
    g = torch.tensor(cotangent(a.shape))
    (s,) = torch.autograd.grad(mssbench.whitening(a), a, g)
    assert abs(s - s.mT).max() < 1e-14


def test_it_goes_through_torch_func():
    a = torch.tensor(matrices())

    def loss(x):
        return mssbench.whitening(x).square().sum()

    mapped = torch.func.vmap(torch.func.grad(loss))(a)
    one_by_one = torch.stack([torch.func.grad(loss)(x) for x in a])
    assert error(mapped.numpy(), one_by_one.numpy()) < 1e-13


@pytest.mark.parametrize("kind", ["singular", "indefinite"])
@pytest.mark.parametrize("put", [np.array, torch.tensor], ids=["numpy", "torch"])
def test_what_has_no_factor_is_nan_and_its_neighbours_are_not(put, kind):
    bad = np.diag([1.0, 0.0 if kind == "singular" else -1.0, 1.0])
    a = np.stack([np.eye(3), bad, 4 * np.eye(3)])
    w = np.asarray(mssbench.whitening(put(a)))
    assert (w[0] == np.eye(3)).all()
    assert (w[2] == np.eye(3) / 2).all()
    assert np.isnan(w[1]).any()


def test_its_gradient_is_nan_where_it_is():
    a = torch.stack([torch.eye(2), torch.zeros(2, 2)]).requires_grad_()
    mssbench.whitening(a).sum().backward()
    assert torch.isfinite(a.grad[0]).all()
    assert not torch.isfinite(a.grad[1]).all()


@pytest.mark.parametrize("function", [mssbench.whitening, mssbench.logm])
@pytest.mark.parametrize(
    ("a", "options", "said"),
    [
        (torch.ones(2, 3), {}, "expected square matrices"),
        (torch.eye(2).half(), {}, "float32 or float64, got float16"),
        (torch.eye(2).long(), {}, "floating-point"),
        ([[1.0]], {}, "array"),
        (torch.ones(2, 2), {"check": True}, "singular"),
        (torch.tensor([[1.0, 2.0], [0.0, 1.0]]), {"check": True}, "not symmetric"),
        (torch.tensor([[torch.nan]]), {"check": True}, "not finite"),
    ],
    ids=str,
)
def test_bad_input_is_refused_in_words(function, a, options, said):
    with pytest.raises(InputError, match=said):
        function(a, **options)


def test_autocast_does_not_reach_it():
    a = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    plain = mssbench.whitening(a), mssbench.logm(a)
    with torch.autocast("cpu", torch.bfloat16):
        inside = mssbench.whitening(a), mssbench.logm(a)
    for x, y in zip(plain, inside, strict=True):
        assert y.dtype == torch.float32
        assert (x == y).all()


def test_it_is_no_root_and_a_root_whitens_as_well():
    with pytest.raises(Unsupported, match="measure it with function = whiten"):
        pair("isqrt", "cholesky", "autodiff")
    with pytest.raises(Unsupported, match="pairs with autodiff, not loewner"):
        other_function("whiten", "cholesky", "loewner")
    a = torch.tensor(matrices())
    w = other_function("whiten", "eigh", "loewner")(a)
    assert abs(whitened(a.numpy(), w.numpy())).max() < 1e-13


# The reference that judges it


def test_the_reference_is_that_of_forty_digits():
    mpmath = pytest.importorskip("mpmath")
    a = matrices(5, 1, "condition_1e6")
    g = cotangent(a.shape)
    found = cholesky.solve(a, g)

    with mpmath.workdps(40):
        exact = mpmath.inverse(mpmath.cholesky(mpmath.matrix(a[0].tolist())))
        w = np.array(exact.tolist(), dtype=float)
        s = np.zeros((5, 5))
        h = mpmath.mpf(10) ** -15
        for i in range(5):
            for j in range(i + 1):
                step = mpmath.zeros(5)
                step[i, j] = step[j, i] = h
                change = [
                    mpmath.inverse(mpmath.cholesky(mpmath.matrix(a[0].tolist()) + sign * step))
                    for sign in (1, -1)
                ]
                slope = (change[0] - change[1]) / (2 * h)
                total = sum(
                    mpmath.mpf(float(g[0, k, m])) * slope[k, m] for k in range(5) for m in range(5)
                )
                s[i, j] = s[j, i] = float(total) / (1 if i == j else 2)
    assert error(found.w, w[None]) < 1e-15
    assert error(found.gradient, s[None]) < max(found.error, 1e-13)
    assert found.error < 1e-6


def test_the_reference_takes_no_part_of_the_upper_triangle_of_a_cotangent():
    a, g = matrices(), symmetric(cotangent((3, 6, 6)))
    lower = np.tril(g)
    assert (cholesky.solve(a, g).gradient == cholesky.solve(a, lower).gradient).all()
