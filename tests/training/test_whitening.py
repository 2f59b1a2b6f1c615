"""`Whitening` against the published IterNorm, and what whitening means."""

import pytest
import torch
from helpers.published import PUBLISHED, made
from torch import nn

from mssbench.errors import InputError
from mssbench.training import Whitening

ITERNORM = {"forward": "newton_schulz", "backward": "autodiff", "norm": "trace"}


def batch(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return made((3, 6, 4, 4), 7919, 1009).to(dtype)


def covariance_of(y: torch.Tensor) -> torch.Tensor:
    return torch.cov(y.transpose(0, 1).flatten(1), correction=0)


@pytest.mark.parametrize(("groups", "steps"), [(1, 5), (2, 3)])
def test_equals_iternorm(groups, steps) -> None:
    layer = Whitening(6, groups=groups, **ITERNORM, iterations=steps).double()
    x = batch().requires_grad_()
    y = layer(x)
    (y * made(y.shape, 31, 17)).sum().backward()

    published = {
        name: torch.tensor(values, dtype=torch.float64)
        for name, values in PUBLISHED[f"iternorm_{groups}_{steps}"].items()
    }
    close = {"rtol": 1e-12, "atol": 1e-13}
    torch.testing.assert_close(y.flatten(), published["y"], **close)
    torch.testing.assert_close(x.grad.flatten(), published["dx"], **close)
    torch.testing.assert_close(layer.running_mean.flatten(), published["mean"], **close)
    torch.testing.assert_close(layer.running_whitening.flatten(), published["matrix"], **close)
    torch.testing.assert_close(layer.eval()(x).flatten()[:24], published["evaluated"], **close)


@pytest.mark.parametrize("forward", ["eigh", "cholesky", "minimax_hybrid"])
def test_the_output_is_white_within_each_group(forward) -> None:
    y = Whitening(6, groups=2, forward=forward, eps=0.0, affine=False)(batch())
    white = covariance_of(y)
    for group in (slice(0, 3), slice(3, 6)):
        torch.testing.assert_close(
            white[group, group], torch.eye(3, dtype=torch.float64), atol=1e-5, rtol=0
        )
    assert white[:3, 3:].abs().max() > 1e-3, "the groups are not whitened with each other"


def test_zca_is_symmetric_and_cholesky_keeps_the_first_channel_apart() -> None:
    x = batch()
    zca, cholesky = (Whitening(6, forward=name, momentum=1.0) for name in ("eigh", "cholesky"))
    zca(x), cholesky(x)
    matrix = zca.running_whitening
    torch.testing.assert_close(matrix, matrix.mT)
    assert torch.equal(cholesky.running_whitening, cholesky.running_whitening.tril())


def test_evaluation_does_not_change_the_running_statistics() -> None:
    layer = Whitening(6)
    layer(batch(torch.float32))
    before = {name: tensor.clone() for name, tensor in layer.state_dict().items()}
    layer.eval()(3 * batch(torch.float32))
    assert all(torch.equal(before[name], tensor) for name, tensor in layer.state_dict().items())


def test_gradients_are_those_of_the_formulas() -> None:
    layer = Whitening(4, forward="eigh", backward="loewner").double()
    x = made((2, 4, 3), 7919, 1009).requires_grad_()
    assert torch.autograd.gradcheck(layer, (x,))


def test_lower_precisions_and_other_shapes_keep_theirs() -> None:
    layer = Whitening(6)
    assert layer(batch(torch.bfloat16)).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(batch(torch.float32)).dtype == torch.float32
    assert layer(torch.randn(20, 6)).shape == (20, 6)
    compiled = torch.compile(layer.eval(), backend="aot_eager")
    torch.testing.assert_close(compiled(batch(torch.float32)), layer(batch(torch.float32)))


def test_a_channel_has_a_weight_and_a_bias() -> None:
    layer = Whitening(6, groups=2).double()
    plain = Whitening(6, groups=2, affine=False).double()
    assert [name for name, _ in plain.named_parameters()] == []
    with torch.no_grad():
        nn.init.constant_(layer.weight, 1.0)
        layer.weight[4], layer.bias[4] = 3.0, 0.5
    y, without = layer(batch()), plain(batch())
    torch.testing.assert_close(y[:, 4], 3 * without[:, 4] + 0.5)
    torch.testing.assert_close(y[:, :4], without[:, :4])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="4 groups do not divide 6 channels"):
        Whitening(6, groups=4)
    with pytest.raises(InputError, match=r"\(batch, 6, \.\.\.\), got shape \(3, 5\)"):
        Whitening(6)(torch.ones(3, 5))
