"""Functions of the covariance other than the root: SciPy's matrix functions are the judge."""

import numpy as np
import pytest
import torch
from scipy import linalg

from mssbench import sqrtm
from mssbench.errors import InputError
from mssbench.training.network import Method, pooling
from mssbench.training.pooling import covariance
from mssbench.training.transforms import TRANSFORMS, TransformPooling, _divided_differences

N, PLACES = 6, 20
FUNCTIONS = {
    "covariance": lambda a: a,
    "power": linalg.sqrtm,
    "logarithm": linalg.logm,
    "log_cholesky": lambda a: (
        np.triu(linalg.cholesky(a), 1) + np.diag(np.log(np.diag(linalg.cholesky(a))))
    ),
}


def features(places: int = PLACES, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(3, N, places, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_value_is_that_of_scipy_and_the_gradient_that_of_differences(name) -> None:
    layer = TransformPooling(N, name, "float64")
    x = features()
    rows, columns = np.triu_indices(N)
    for a, found in zip(covariance(x).numpy(), layer(x).numpy(), strict=True):
        np.testing.assert_allclose(found, FUNCTIONS[name](a)[rows, columns], atol=1e-10)
    assert torch.autograd.gradcheck(layer, (x.requires_grad_(),))


def test_every_transform_has_an_independent_judge() -> None:
    assert set(FUNCTIONS) == set(TRANSFORMS)


@pytest.mark.parametrize("p", [0.3, 0.5, 0.9])
@pytest.mark.parametrize(
    ("w", "tolerance"),
    [
        ([1.0, 1.0, 2.0], 1e-14),
        ([1.0, 1.0 + 1e-12, 2.0], 1e-14),  # nearly equal: a difference would lose all digits
        ([1e-12, 1e-3, 1.0], 1e-14),
    ],
)
def test_divided_differences_of_powers_are_accurate(p, w, tolerance) -> None:
    import mpmath

    mpmath.mp.dps = 50
    found = _divided_differences(torch.tensor(w, dtype=torch.float64), p)
    for i, one in enumerate(w):
        for j, other in enumerate(w):
            a, b = mpmath.mpf(one), mpmath.mpf(other)
            exact = p * a ** (p - 1) if a == b else (a**p - b**p) / (a - b)
            assert found[i, j].item() == pytest.approx(float(exact), rel=tolerance)


@pytest.mark.parametrize("w", [[1.0, 1.0, 2.0], [1.0, 1.0 + 1e-12, 2.0], [1e-9, 1e-3, 1.0]])
def test_divided_differences_of_the_logarithm_are_accurate(w) -> None:
    import mpmath

    mpmath.mp.dps = 50
    found = _divided_differences(torch.tensor(w, dtype=torch.float64), None)
    for i, one in enumerate(w):
        for j, other in enumerate(w):
            a, b = mpmath.mpf(one), mpmath.mpf(other)
            exact = 1 / a if a == b else (mpmath.log(a) - mpmath.log(b)) / (a - b)
            assert found[i, j].item() == pytest.approx(float(exact), rel=1e-14)


def test_the_power_one_half_of_a_singular_covariance_is_the_default_root() -> None:
    x = features(places=4).requires_grad_()
    a = covariance(x)
    root, power = sqrtm(a), TransformPooling(N, "power", None).of_covariance(a)
    torch.testing.assert_close(power, root, rtol=0, atol=1e-12)
    g = features(places=N, seed=1)
    (of_root,) = torch.autograd.grad(root, x, g, retain_graph=True)
    (of_power,) = torch.autograd.grad(power, x, g)
    torch.testing.assert_close(of_power, of_root, rtol=1e-9, atol=1e-9)


def test_factor_identity_and_floor_do_what_their_names_say() -> None:
    a = covariance(features())
    eye = torch.eye(N, dtype=torch.float64)
    twice = TransformPooling(N, "power", None, exponent=0.5, factor=2.0, minus_identity=True)
    torch.testing.assert_close(twice.of_covariance(a), 2 * (sqrtm(a) - eye))

    floored = TransformPooling(N, "covariance", None, floor=0.1).of_covariance(a)
    mean = a.diagonal(dim1=-2, dim2=-1).mean(-1)
    torch.testing.assert_close(floored, a + 0.1 * mean[:, None, None] * eye)


def test_a_singular_covariance_has_no_logarithm_and_a_floor_gives_it_one() -> None:
    x = features(places=4)
    assert not torch.isfinite(TransformPooling(N, "logarithm", None)(x)).all()
    assert torch.isfinite(TransformPooling(N, "logarithm", None, floor=1e-3)(x)).all()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"exponent": "half"}, "exponent = 'half' is not a number"),
        ({"minus_identity": 1}, "minus_identity = 1 is neither true nor false"),
        ({"floor": -1.0}, "floor = -1.0 is not a number of 0 or more"),
    ],
)
def test_a_value_of_another_type_is_refused(parameters, words) -> None:
    with pytest.raises(InputError, match=words):
        pooling(Method("power", parameters=parameters), N)


def test_a_parameter_that_a_transform_does_not_take_is_named() -> None:
    with pytest.raises(InputError, match="logarithm has no parameter 'exponent': it takes floor"):
        pooling(Method("logarithm", parameters={"exponent": 2}), N)
