"""Roots of singular matrices, above all covariances of fewer samples than dimensions.

What decides is the gradient to the features, in float64 and in the range of A alone: it needs no
threshold below which an eigenvalue counts as zero.
"""

import warnings

import numpy as np
import pytest
import torch

import mssbench
from mssbench.errors import InputError, SingularWarning
from mssbench.methods import registry

PRECISE = {"float32": 1e-4, "float64": 1e-12}
SHAPES = [(64, 32), (256, 49), (256, 196)]  # of features: dimensions, samples


def features(n, samples, dtype, seed=0):
    """X, (2, n, samples), and a symmetric cotangent of the root, (2, n, n)."""
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal((2, n, samples)), rng.standard_normal((2, n, n))
    return x.astype(dtype), ((g + g.swapaxes(1, 2)) / 2).astype(dtype)


def exact_gradient(x, g):
    """dL/dX of L = <G, (X Xᵀ / M)^{1/2}>, from the singular vectors of X: no direction is null."""
    x, g = x.astype(float), g.astype(float)
    samples = x.shape[-1]
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    d, ut = s / np.sqrt(samples), u.swapaxes(1, 2)
    inside = ut @ g @ u
    in_range = u @ (inside / (d[:, :, None] + d[:, None, :]))
    out_of_range = (g @ u - u @ inside) / d[:, None, :]
    return 2 / samples * (in_range + out_of_range) @ ut @ x


def found_gradient(x, g, **pair):
    leaf = torch.tensor(x, requires_grad=True)
    a = leaf @ leaf.mT / x.shape[-1]
    (mssbench.sqrtm(a, **pair) * torch.tensor(g)).sum().backward()
    return leaf.grad.double().numpy()


def error(found, due):
    return (np.linalg.norm(found - due, axis=(1, 2)) / np.linalg.norm(due, axis=(1, 2))).max()


def test_the_oracle_agrees_with_finite_differences():
    x, g = features(4, 2, float)
    step, due = 1e-6, exact_gradient(x, g)

    def loss(x):
        w, v = np.linalg.eigh(x @ x.swapaxes(1, 2) / x.shape[-1])
        # an exact null direction stays one, as the moved features have the same rank
        root = (v * np.sqrt(np.where(w > 1e-12, w, 0))[:, None, :]) @ v.swapaxes(1, 2)
        return (root * g).sum()

    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = step
        slope = (loss(x + moved) - loss(x - moved)) / (2 * step)
        assert due[place] == pytest.approx(slope, rel=1e-5, abs=1e-7)


SPECTRAL = [
    ("eigh", "loewner"),
    ("svd", "loewner"),
    ("eigh_parallel", "loewner_parallel"),
    ("batched_qr", "loewner"),
    ("eigh", "autodiff"),
    ("svd", "svd_trunc"),
    ("svd", "svd_pade"),
]


@pytest.mark.sampled(12)
@pytest.mark.parametrize("dtype", PRECISE)
@pytest.mark.parametrize(
    ("forward", "backward", "n", "samples"),
    [
        (*pair, *shape)
        for pair in SPECTRAL
        for shape in SHAPES
        if pair[0] != "batched_qr" or shape[0] <= 64
    ],  # it is meant for small matrices
)
def test_the_gradient_to_the_features_is_right(forward, backward, n, samples, dtype):
    x, g = features(n, samples, dtype)
    found = found_gradient(x, g, forward=forward, backward=backward)
    assert error(found, exact_gradient(x, g)) < PRECISE[dtype]


@pytest.mark.parametrize("dtype", PRECISE)
@pytest.mark.parametrize(
    ("forward", "more"), [("newton_schulz", {"iterations": 20}), ("minimax", {}), ("prism", {})]
)
def test_loewner_is_right_behind_an_iteration_that_sends_null_directions_to_zero(
    forward, more, dtype
):
    """Those errors were 0.8 to 83 as long as rounding counted as an eigenvalue."""
    x, g = features(64, 32, dtype)
    found = found_gradient(x, g, forward=forward, backward="loewner", **more)
    assert error(found, exact_gradient(x, g)) < {"float32": 1e-3, "float64": 1e-8}[dtype]


def test_a_matrix_of_rank_one_has_no_huge_gradient():
    a = torch.ones(16, 16, requires_grad=True)
    mssbench.sqrtm(a).sum().backward()
    assert torch.allclose(a.grad, torch.full_like(a, 0.125), rtol=1e-5)


@pytest.mark.parametrize("forward", ["eigh", "svd", "eigh_parallel"])
@pytest.mark.parametrize("dtype", PRECISE)
def test_the_root_of_a_singular_matrix_has_its_rank(forward, dtype):
    x, _ = features(64, 32, dtype)
    a = torch.tensor(x @ x.swapaxes(1, 2) / 32)
    y = mssbench.sqrtm(a, forward=forward).double()
    u, s, _ = np.linalg.svd(x.astype(float), full_matrices=False)
    due = (u * (s / np.sqrt(32))[:, None, :]) @ u.swapaxes(1, 2)
    assert error(y.numpy(), due) < {"float32": 2e-6, "float64": 1e-14}[dtype]


@pytest.mark.parametrize("function", ["sqrt", "isqrt"])
def test_an_eigenvalue_that_is_no_rounding_counts(function):
    """Condition 1e6 in float32: 8 times what counts as rounding, and the digits that are left."""
    w = np.geomspace(1e-6, 1.0, 8)
    root, power = getattr(mssbench, f"{function}m"), {"sqrt": 0.5, "isqrt": -0.5}[function]
    found = root(torch.diag(torch.tensor(w, dtype=torch.float32)))
    assert found.diagonal().numpy() == pytest.approx(w**power, rel=1e-5)


def test_a_scaled_matrix_has_the_same_null_directions():
    x, g = features(16, 8, "float32")
    plain = found_gradient(x, g)
    for scale in (2.0**-40, 2.0**40):
        assert error(found_gradient(scale * x, g), plain) < 1e-5


def test_a_nan_stays_a_nan_and_disturbs_no_other_matrix():
    a = torch.eye(4).repeat(2, 1, 1)
    a[1, 0, 0] = torch.nan
    for forward in ("eigh", "svd"):
        y = mssbench.sqrtm(a, forward=forward)
        assert torch.equal(y[0], torch.eye(4))
        assert y[1].isnan().all()


def _declared_wrong():
    """Pairs of each method with the method whose gradient is right whatever stands beside it."""
    forwards, backwards = registry.known("forward"), registry.known("backward")
    pairs = [(forwards["eigh"], b) for b in backwards.values() if not b.package]
    pairs += [(f, backwards["loewner"]) for f in forwards.values() if not f.package]
    for forward, backward in pairs:
        inexact = forward.inexact or backward.inexact
        usable = (
            "torch" in forward.libraries
            and "sqrt" in forward.functions
            and not {"cuda"} & {*forward.devices, *backward.devices}
        )
        if usable and not inexact:
            yield pytest.param(forward.name, backward.name, id=f"{forward.name} + {backward.name}")


@pytest.mark.sampled(8)
@pytest.mark.parametrize(("forward", "backward"), [*_declared_wrong()])
def test_a_method_says_if_and_only_if_its_gradient_is_wrong_for_a_singular_matrix(
    forward, backward
):
    """Those that are within 1 % of right on a regular matrix are 5 % wrong on a singular one.

    Iterations take the number of steps that suites give them, and more where that is not enough.
    """
    f, b = registry.lookup("forward", forward), registry.lookup("backward", backward)
    n = 16 if backward == "kronecker" else 32  # the largest that it takes

    def wrong(samples, parameters):
        x, g = features(n, samples, float)
        found = found_gradient(x, g, forward=forward, backward=backward, **parameters)
        return error(found, exact_gradient(x, g))

    tail = {"backward_tail": 2} if "tail" in b.parameters else {}
    for method, prefix in ((f, ""), (b, "backward_")):
        if "iterations" in method.parameters:
            tail[f"{prefix}iterations"] = method.parameters["iterations"].default
    many = {"iterations": 20} if "iterations" in f.parameters else {}
    many |= {"backward_iterations": 20} if "iterations" in b.parameters else {}
    many |= {"degree": 40} if "degree" in f.parameters and not many else {}
    try:
        right = next((each for each in (tail, tail | many) if wrong(4 * n, each) < 0.01), None)
    except InputError as answer:
        pytest.skip(str(answer))
    if right is None:
        pytest.skip("it is not converged on a regular matrix either")
    declared = bool(f.at_singular or b.at_singular)
    assert (not wrong(n // 2, right) < 0.05) is declared


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ({"backward": "lyapunov_minimax"}, "lyapunov_minimax: loses about half of the gradient"),
        ({"forward": "pade"}, "pade: its root is not zero in null directions"),
    ],
)
def test_check_warns_of_a_gradient_that_is_wrong_for_a_singular_matrix(pair, words):
    a = torch.tensor(features(8, 4, float)[0])
    singular = a @ a.mT
    with pytest.warns(SingularWarning, match=f"2 of 2 matrices are singular.*{words}"):
        mssbench.sqrtm(singular.clone().requires_grad_(), check=True, **pair)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mssbench.sqrtm(singular, check=True, **pair)  # no gradient is asked for
        mssbench.sqrtm(singular.clone().requires_grad_(), check=True)
        mssbench.sqrtm(singular.clone().requires_grad_(), check=True, ridge=0.1, **pair)
        regular = singular + torch.eye(8, dtype=a.dtype)
        mssbench.sqrtm(regular.requires_grad_(), check=True, **pair)
