"""Derivatives of every order and mode: second, forward, batched, and those of torch.func."""

import numpy as np
import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck

import mssbench
from mssbench.errors import InputError
from mssbench.methods import registry
from mssbench.methods.pair import pair
from mssbench.testing.matrices import with_spectrum

ROOTS = {"sqrt": mssbench.sqrtm, "isqrt": mssbench.isqrtm}
SOLVERS = ["loewner", "loewner_parallel", "kronecker", "lyapunov_minimax", "lyapunov_newton_schulz"]
# Enough steps for matrices of condition 10; every other method is exact there by its defaults.
STEPS = {
    "newton_schulz": {"iterations": 20},
    "newton_schulz_baddbmm": {"iterations": 20},
    "denman_beavers": {"iterations": 12},
    "inverse_newton": {"iterations": 20},
}
# No choice of their parameters gives the root of A itself to the digits of a check in float64.
APPROXIMATE = {
    "batched_qr_released",
    "chebyshev",
    "gcp_seb",
    "gcp_seb_released",
    "gcp_truncate",
    "gcp_truncate_released",
    "power_iteration",
    "scaled_cans",
    "taylor",
    "taylor_paterson_stockmeyer",
    "minimax_hybrid",
    "pade",
    "pade_half",
}


def symmetric(x):
    return (x + x.mT) / 2


def matrices(n=3, batch=2, **options):
    a = torch.tensor(with_spectrum(np.geomspace(0.3, 3.0, n), batch=batch), **options)
    return a.requires_grad_()


def forwards():
    """Every generic forward in torch that is exact at these matrices, with its functions."""
    for method in registry.known("forward").values():
        here = not method.devices or "cpu" in method.devices
        if (
            "torch" in method.libraries
            and here
            and not method.package
            and (not method.sizes or 3 in method.sizes)
        ):
            for function in method.functions:
                if method.name not in APPROXIMATE and method.name != "matrix_sqrth":
                    yield method.name, function


def pairs():
    """Forwards with loewner, and each solver behind a spectral and an iterative forward."""
    for forward, function in forwards():
        if "sqrt" in registry.lookup("forward", forward).fields:
            quick = forward in ("eigh", "newton_schulz")
            yield forward, "loewner", function, quick
    for backward in SOLVERS[1:]:
        for function in ROOTS:
            yield "eigh", backward, function, backward != "lyapunov_minimax"
            if backward != "loewner_parallel":
                yield "minimax", backward, function, False
    for forward in ("eigh", "svd", "newton_schulz", "eigh_parallel"):
        for function in ROOTS:
            yield forward, "autodiff", function, forward == "eigh_parallel"


def call_of(forward, backward, function):
    parameters = dict(STEPS.get(forward, {}))
    if backward == "lyapunov_newton_schulz":
        parameters["backward_iterations"] = 20
    return lambda a: ROOTS[function](symmetric(a), forward=forward, backward=backward, **parameters)


every_pair = pytest.mark.parametrize(
    ("forward", "backward", "function"),
    [
        pytest.param(f, b, fun, marks=[] if quick else pytest.mark.slow)
        for f, b, fun, quick in pairs()
    ],
)


@pytest.mark.sampled(5, slow=8)
@every_pair
def test_first_and_second_derivatives_are_those_of_finite_differences(forward, backward, function):
    root, a = call_of(forward, backward, function), matrices()
    limits = {"rtol": 1e-4, "atol": 1e-6}
    assert gradcheck(root, a, check_forward_ad=True, check_batched_grad=True, **limits)
    assert gradgradcheck(root, a, **limits)


@every_pair
def test_every_transform_of_torch_func_gives_the_same_derivative(forward, backward, function):
    root, a = call_of(forward, backward, function), matrices().detach()
    weights = torch.tensor(np.random.default_rng(0).standard_normal(a.shape[1:]))

    def loss(x):
        return (root(x) * weights).sum()

    leaf = a.clone().requires_grad_()
    (due,) = torch.autograd.grad(loss(leaf), leaf)
    close = {"rtol": 1e-8, "atol": 1e-10}
    assert torch.allclose(torch.func.grad(loss)(a), due, **close)
    assert torch.allclose(torch.func.vmap(torch.func.grad(loss))(a), due, **close)
    assert torch.allclose(torch.func.vmap(root)(a), root(a), **close)
    jacobian = torch.func.jacrev(root)(a[0])
    assert torch.allclose(torch.func.jacfwd(root)(a[0]), jacobian, **close)
    direction = torch.tensor(np.random.default_rng(1).standard_normal(a.shape))
    along = torch.func.jvp(root, (a,), (direction,))[1]
    assert torch.allclose((along * weights).sum(), (due * direction).sum(), **close)
    assert torch.allclose(
        torch.func.jvp(root, (a[0],), (direction[0],))[1],
        torch.tensordot(jacobian, direction[0], 2),
        **close,
    )


def test_the_hessian_of_the_trace_is_that_of_the_closed_form():
    """tr √A = √(tr A + 2 √det A) for 2 x 2, differentiated by torch's own operations."""
    a = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)

    def exact(x):
        x = symmetric(x)
        return (x.trace() + 2 * (x[0, 0] * x[1, 1] - x[0, 1] * x[1, 0]).sqrt()).sqrt()

    hessian = torch.autograd.functional.hessian
    due = hessian(exact, a)
    for backward in SOLVERS:
        found = hessian(lambda x, b=backward: mssbench.sqrtm(symmetric(x), backward=b).trace(), a)
        assert torch.allclose(found, due, rtol=1e-6, atol=1e-8), backward


@pytest.mark.sampled(4)
@pytest.mark.parametrize("function", ROOTS)
@pytest.mark.parametrize("backward", SOLVERS)
def test_forward_over_reverse_is_reverse_over_reverse(backward, function):
    a = matrices(batch=1)[0].detach()

    def loss(x):
        more = {"backward_iterations": 20} if backward == "lyapunov_newton_schulz" else {}
        return ROOTS[function](symmetric(x), backward=backward, **more).square().sum()

    due = torch.autograd.functional.hessian(loss, a)
    forward_over_reverse = torch.func.jacfwd(torch.func.grad(loss))
    reverse_over_forward = torch.func.jacrev(torch.func.jacfwd(loss))
    for mixed in (forward_over_reverse, reverse_over_forward, torch.func.hessian(loss)):
        assert torch.allclose(mixed(a), due, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("function", ROOTS)
def test_a_gradient_penalty_beside_its_loss_is_differentiated_whole(function):
    """The root is read again after its gradient, which itself depends on the root."""

    def penalised(x):
        y = ROOTS[function](x)
        (s,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return y.pow(3).sum() + s.square().sum()

    a = matrices(batch=1)
    assert gradcheck(lambda x: penalised(symmetric(x)), a)


def test_third_derivatives_are_right_too():
    a = matrices(batch=1)[0].detach().requires_grad_()

    def curvature(x):
        found = torch.autograd.functional.hessian(
            lambda y: mssbench.sqrtm(symmetric(y)).sum(), x, create_graph=True
        )
        return found.square().sum()

    assert gradcheck(curvature, a)


@pytest.mark.parametrize("function", ROOTS)
def test_a_tangent_at_the_identity_is_half_of_the_direction(function):
    """Where torch's own derivative of an eigendecomposition divides 0 by 0."""
    eye = torch.eye(3, dtype=torch.float64)
    direction = symmetric(torch.arange(9.0, dtype=torch.float64).reshape(3, 3))
    due = direction / 2 if function == "sqrt" else -direction / 2
    assert torch.allclose(torch.func.jvp(ROOTS[function], (eye,), (direction,))[1], due)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(eye, direction)
        found = forward_ad.unpack_dual(ROOTS[function](dual)).tangent
    assert torch.allclose(found, due)


ONE_WAY = {"svd_taylor": "svd", "svd_trunc": "eigh", "newton_schulz_adjoint": "newton_schulz"}


@pytest.mark.parametrize(("backward", "forward"), ONE_WAY.items())
def test_a_backward_that_is_no_solver_has_a_gradient_and_refuses_the_second(backward, forward):
    a = matrices()
    root = pair("sqrt", forward, backward)
    (plain,) = torch.autograd.grad(root(a).sum(), a)
    (s,) = torch.autograd.grad(root(a).sum(), a, create_graph=True)
    assert torch.equal(s, plain)
    with pytest.raises(InputError, match=rf"{forward} \+ {backward} has no second.*autodiff"):
        torch.autograd.grad(s.sum(), a)
    with pytest.raises(InputError, match="no second derivative"):
        torch.autograd.functional.hessian(lambda x: root(symmetric(x)).sum(), a.detach()[0])
    with pytest.raises(InputError, match=r"no forward-mode derivative \(jvp\): .*loewner"):
        torch.func.jvp(root, (a.detach(),), (a.detach(),))
    mapped = torch.func.vmap(torch.func.grad(lambda x: root(x).sum()))(a.detach())
    assert torch.allclose(mapped, plain)


def test_a_root_may_be_changed_in_place_where_its_gradient_does_not_read_it():
    a = matrices()
    for function in ROOTS:
        y = ROOTS[function](a)
        (due,) = torch.autograd.grad((2 * y).sum(), a, retain_graph=True)
        (found,) = torch.autograd.grad(y.mul_(2).sum(), a)
        assert torch.equal(found, due)


def test_a_root_that_its_gradient_reads_may_not_be_changed_unseen():
    y = mssbench.sqrtm(a := matrices(), backward="kronecker")
    y.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(y.sum(), a)


def test_a_matrix_may_be_changed_in_place_after_its_root():
    a = matrices()
    b = a * 1
    y = mssbench.sqrtm(b)
    (due,) = torch.autograd.grad(y.sum(), a, retain_graph=True)
    b.zero_()
    assert torch.equal(torch.autograd.grad(y.sum(), a)[0], due)


# ------------------------------------------------------------------------------------- autocast


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backward", ["loewner", "autodiff"])
@pytest.mark.parametrize("forward", ["eigh", "minimax_hybrid", "newton_schulz"])
def test_under_autocast_nothing_is_computed_in_half_precision(forward, backward, half):
    x = matrices().detach().float()
    results = []
    for enabled in (False, True):
        a = x.clone().requires_grad_()
        with torch.autocast("cpu", half, enabled=enabled):
            y = mssbench.sqrtm(a, forward=forward, backward=backward)
            loss = y.square().sum()
        (s,) = torch.autograd.grad(loss, a)
        assert y.dtype == s.dtype == torch.float32
        results.append((y, s))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_a_gradient_that_is_taken_under_autocast_is_in_the_precision_of_its_matrix():
    x = matrices().detach().float()
    a = x.clone().requires_grad_()
    (due,) = torch.autograd.grad(mssbench.sqrtm(a).sum(), a)
    y = mssbench.sqrtm(a)
    with torch.autocast("cpu", torch.bfloat16):
        (s,) = torch.autograd.grad(y.sum(), a)
    assert torch.equal(s, due)


def test_on_a_gpu_autocast_is_switched_off_as_well(monkeypatch):
    """With a stand-in for the device, which only tells what it was asked."""
    from mssbench.methods import pair as pairs_

    switched = []
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda _: True)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
    monkeypatch.setattr(torch, "autocast", lambda *given, **named: switched.append((given, named)))

    class OnGpu:
        device = torch.device("cuda")

    monkeypatch.setattr(pairs_.arrays, "library", lambda _: "torch")
    pairs_.without_autocast(OnGpu())
    assert switched == [(("cuda",), {"enabled": False})]


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_a_derivative_in_half_precision_is_refused_with_a_backward_that_has_one(half):
    a, words = matrices().detach().to(half), 'take backward="lyapunov_newton_schulz"'

    def root(x, **named):
        return mssbench.sqrtm(x, forward="newton_schulz", **named)

    def dual(call):
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(call(forward_ad.make_dual(a, a))).tangent

    def transformed(call):
        return torch.func.jvp(call, (a,), (a,))[1]

    def gradient(call):
        return torch.func.grad(lambda x: torch.func.vmap(call)(x).float().sum())(a)

    for derivative in (dual, transformed, gradient):
        with pytest.raises(InputError, match=words):
            derivative(root)
        found = derivative(lambda x: root(x, backward="lyapunov_newton_schulz"))
        assert found.dtype == half
        assert torch.isfinite(found).all()
    assert torch.func.vmap(root)(a).dtype == half, "a root alone needs no backward"


# ------------------------------------------------------------------------------------- subclasses


class OfAManifold(torch.nn.Parameter):
    """As geoopt's ManifoldParameter: a Parameter of another package."""


OfAManifold.__module__ = "some_manifolds.tensor"


def test_subclasses_of_a_tensor_are_tensors():
    a = matrices().detach()
    (due,) = torch.autograd.grad(mssbench.sqrtm(leaf := a.clone().requires_grad_()).sum(), leaf)
    for kind in (torch.nn.Parameter, OfAManifold):
        leaf = kind(a.clone())
        y = mssbench.sqrtm(leaf)
        assert torch.equal(torch.autograd.grad(y.sum(), leaf)[0], due)


def test_a_masked_array_is_refused_with_the_remedy():
    a = np.ma.masked_array(np.eye(3), mask=np.eye(3) == 0)
    with pytest.raises(InputError, match=r"without a mask.*filled\(0\)"):
        mssbench.sqrtm(a)


def test_a_check_of_values_that_vmap_hides_is_refused_with_the_remedy():
    with pytest.raises(InputError, match="check the batch before it"):
        torch.func.vmap(lambda x: mssbench.sqrtm(x, check=True))(matrices().detach())


def test_where_no_gradient_is_asked_for_no_backward_is_needed():
    """inverse_newton yields no root that loewner could take its equation from."""
    due = np.eye(3) / 2
    assert mssbench.isqrtm(4 * np.eye(3), forward="inverse_newton") == pytest.approx(due)
    found = mssbench.isqrtm(torch.tensor(4 * np.eye(3)), forward="inverse_newton")
    assert found.numpy() == pytest.approx(due)
    with pytest.raises(
        InputError, match=r"inverse_newton does not yield .*: take backward autodiff"
    ):
        mssbench.isqrtm(matrices(), forward="inverse_newton")
