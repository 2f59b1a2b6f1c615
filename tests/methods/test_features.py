"""The root of a covariance from its features: values, gradients, and every mode of derivative."""

import numpy as np
import pytest
import torch

import mssbench
from mssbench.errors import InputError

SHAPES = [(64, 32), (256, 49), (256, 196)]  # of features: dimensions, samples
PRECISE = {"float32": 1e-5, "float64": 1e-12}


def made(n, samples, dtype="float64", seed=0, batch=2):
    """X, (batch, n, samples), and a symmetric cotangent of the root, (batch, n, n)."""
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal((batch, n, samples)), rng.standard_normal((batch, n, n))
    return x.astype(dtype), ((g + g.swapaxes(1, 2)) / 2).astype(dtype)


def exact(x):
    """The root in float64, from the singular vectors of X."""
    u, s, _ = np.linalg.svd(x.astype(float), full_matrices=False)
    return (u * (s / x.shape[-1] ** 0.5)[:, None, :]) @ u.swapaxes(1, 2)


def exact_gradient(x, g):
    """dL/dX in float64 of L = <G, (X Xᵀ / M)^{1/2}> by the published formula, SVD in place of K."""
    x, g = x.astype(float), g.astype(float)
    samples = x.shape[-1]
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    d, ut = s / samples**0.5, u.swapaxes(1, 2)
    inside = ut @ g @ u
    in_range = u @ (inside / (d[:, :, None] + d[:, None, :]))
    out_of_range = (g @ u - u @ inside) / d[:, None, :]
    return 2 / samples * (in_range + out_of_range) @ ut @ x


def gradient(x, g, **options):
    leaf = torch.tensor(x, requires_grad=True)
    (mssbench.sqrtm_of_features(leaf, **options) * torch.tensor(g)).sum().backward()
    return leaf.grad.double().numpy()


def error(found, due):
    return (np.linalg.norm(found - due, axis=(1, 2)) / np.linalg.norm(due, axis=(1, 2))).max()


@pytest.mark.parametrize("dtype", PRECISE)
@pytest.mark.parametrize(("n", "samples"), SHAPES)
def test_root_and_gradient_of_few_samples_have_nearly_all_digits(n, samples, dtype):
    x, g = made(n, samples, dtype)
    root = mssbench.sqrtm_of_features(torch.tensor(x))
    assert error(root.double().numpy(), exact(x)) < PRECISE[dtype]
    assert error(gradient(x, g), exact_gradient(x, g)) < 10 * PRECISE[dtype]


@pytest.mark.parametrize(("n", "samples"), [(4, 4), (4, 9), (1, 1)])
def test_many_samples_give_the_root_of_the_covariance(n, samples):
    x, g = made(n, samples)
    root = mssbench.sqrtm_of_features(torch.tensor(x))
    assert root.numpy() == pytest.approx(exact(x), rel=1e-9, abs=1e-11)
    assert gradient(x, g) == pytest.approx(exact_gradient(x, g), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("samples", [3, 9])
def test_centring_is_that_of_numpys_covariance(samples, center):
    x, _ = made(6, samples)
    moved = x + 100 * center
    due = np.stack([np.cov(each, bias=True) for each in x]) if center else x @ x.mT / samples
    y = mssbench.sqrtm_of_features(torch.tensor(moved), center=center)
    assert (y @ y).numpy() == pytest.approx(due, rel=1e-8, abs=1e-10)
    again = mssbench.sqrtm_of_features(moved, center=center)
    assert isinstance(again, np.ndarray)
    assert (again @ again) == pytest.approx(due, rel=1e-8, abs=1e-10)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize(("n", "samples"), [(4, 3), (4, 7), (3, 3)])
def test_first_and_second_derivatives_are_those_of_finite_differences(n, samples, center):
    x = torch.tensor(made(n, samples)[0], requires_grad=True)

    def root(x):
        return mssbench.sqrtm_of_features(x, center=center)

    # Centred square features span one dimension less than their number.
    if center and samples == n:
        assert torch.autograd.gradcheck(root, x)
        return
    assert torch.autograd.gradcheck(root, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(root, x)


@pytest.mark.parametrize("center", [False, True])
def test_the_transforms_of_torch_give_the_gradient_of_autograd(center):
    x, g = made(5, 3)
    xt, gt = torch.tensor(x), torch.tensor(g)

    def loss(x, g):
        return (mssbench.sqrtm_of_features(x, center=center) * g).sum()

    due = gradient(x, g, center=center)
    assert torch.func.grad(loss)(xt, gt).numpy() == pytest.approx(due, rel=1e-9, abs=1e-11)
    mapped = torch.func.vmap(torch.func.grad(loss))(xt, gt)
    assert mapped.numpy() == pytest.approx(due, rel=1e-9, abs=1e-11)


def test_samples_that_depend_on_each_other_have_a_finite_gradient():
    """Two equal samples, and one of zeros: the covariance has the rank of the others."""
    x, g = made(6, 4)
    x[:, :, 1], x[:, :, 2] = x[:, :, 0], 0.0
    found, root = gradient(x, g), mssbench.sqrtm_of_features(torch.tensor(x)).numpy()
    assert root @ root == pytest.approx(x @ x.swapaxes(1, 2) / 4, rel=1e-9, abs=1e-12)
    assert np.isfinite(found).all()
    # In directions that keep the rank: the two equal samples move alike, the zeros stay.
    step = 1e-6
    direction = np.random.default_rng(5).standard_normal(x.shape)
    direction[:, :, 1], direction[:, :, 2] = direction[:, :, 0], 0.0
    rise = ((exact(x + step * direction) - exact(x - step * direction)) * g).sum() / (2 * step)
    assert (found * direction).sum() == pytest.approx(rise, rel=1e-5)


def test_autocast_leaves_the_precision_of_the_features():
    x, g = made(6, 3, "float32")
    due, found = gradient(x, g), None
    with torch.autocast("cpu", torch.bfloat16):
        found = gradient(x, g)
        y = mssbench.sqrtm_of_features(torch.tensor(x))
    assert y.dtype == torch.float32
    assert found == pytest.approx(due, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("scale", [1e-25, 1e-13, 1e13, 1e25])
def test_a_scaled_batch_has_the_scaled_root_and_the_same_gradient(scale):
    x, g = made(6, 3, "float32")
    scaled = (x * scale).astype("float32")
    y = mssbench.sqrtm_of_features(torch.tensor(scaled)).double().numpy()
    assert error(y, exact(scaled)) < 1e-5
    assert error(gradient(scaled, g), exact_gradient(scaled, g)) < 1e-4


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (torch.zeros(3), r"expected features \(..., n, M\), got shape \(3,\)"),
        (torch.zeros(3, 2, dtype=torch.bfloat16), "got bfloat16. Convert first, .* x.float"),
        (np.zeros((3, 2), dtype=int), "float32 or float64, got int64"),
        ([[1.0]], "got list"),
        (np.ma.masked_array(np.ones((3, 2))), "without a mask"),
        (torch.eye(3).to_sparse(), "got a sparse tensor"),
    ],
)
def test_what_are_no_features_is_refused(x, words):
    with pytest.raises(InputError, match=words):
        mssbench.sqrtm_of_features(x)


@pytest.mark.parametrize("shape", [(0, 3, 2), (2, 0, 3), (2, 3, 0)])
def test_nothing_has_a_root_of_its_own_shape(shape):
    y = mssbench.sqrtm_of_features(torch.zeros(shape))
    assert y.shape == (shape[0], shape[1], shape[1])
    assert not y.any()
