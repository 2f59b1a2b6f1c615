"""Covariances collected from a forward pass, and read again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mssbench
from mssbench import problems
from mssbench.errors import InputError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    return tmp_path


def captured(layer: nn.Module, path: str, *given: torch.Tensor, **options: object) -> None:
    """Call a module in a block that captures it."""
    with mssbench.capture(layer, path, **options):
        for x in given:
            layer(x)


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU())


def covariances(x: torch.Tensor) -> np.ndarray:
    """Of (b, n, M), by NumPy."""
    return np.stack([np.cov(each, bias=True) for each in x.detach().double().numpy()])


def test_the_covariances_of_an_output_are_those_of_numpy() -> None:
    model, images = network(), torch.randn(4, 3, 9, 8)
    with mssbench.capture(model[1], "x.npz") as taken:
        model(images)
        y = model(images + 1)
    assert taken.count == 8
    stored = np.load("x.npz")
    assert stored.files == ["matrices"]
    assert stored["matrices"].dtype == np.float64
    np.testing.assert_allclose(stored["matrices"][4:], covariances(y.flatten(2)), atol=1e-15)
    np.testing.assert_array_equal(stored["matrices"], stored["matrices"].swapaxes(1, 2))
    master = problems.make("file(path=x.npz)", 5, 8, 0).master
    np.testing.assert_array_equal(master, stored["matrices"])


def test_the_input_of_a_module_is_taken_if_asked_for() -> None:
    model, images = network(), torch.randn(2, 3, 9, 8)
    with mssbench.capture(model, "x.npy", of="input"):
        model(images)
    np.testing.assert_allclose(np.load("x.npy"), covariances(images.flatten(2)), atol=1e-15)


def test_features_may_be_kept_and_give_the_same_matrices() -> None:
    model = network()
    with mssbench.capture(model, "x.npz", features=True):
        y = model(torch.randn(2, 3, 9, 8))
    np.testing.assert_array_equal(np.load("x.npz")["features"], y.detach().flatten(2).numpy())
    kept, taken = (
        problems.make(f"file(path=x.npz, key={key})", 5, 2, 0) for key in ("matrices", "features")
    )
    np.testing.assert_allclose(kept.master, taken.master, atol=1e-15)


def test_tokens_have_their_channels_last() -> None:
    x = torch.randn(2, 7, 5)  # (b, tokens, channels)
    with mssbench.capture(layer := nn.LayerNorm(5), "x.npy", axis=-1):
        y = layer(x)
    np.testing.assert_allclose(np.load("x.npy"), covariances(y.mT), atol=1e-15)


def test_a_batch_of_vectors_gives_one_covariance_a_call() -> None:
    with mssbench.capture(layer := nn.Linear(3, 4), "x.npy"):
        first, second = layer(torch.randn(9, 3)), layer(torch.randn(6, 3))
    expected = np.concatenate([covariances(each.T[None]) for each in (first, second)])
    np.testing.assert_allclose(np.load("x.npy"), expected, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_features_are_summed_in_float64(dtype: torch.dtype) -> None:
    x = torch.randn(2, 4, 50).to(dtype)
    with mssbench.capture(layer := nn.Identity(), "x.npy"):
        layer(x)
    np.testing.assert_allclose(np.load("x.npy"), covariances(x), atol=1e-15)


def test_the_first_tensor_of_several_is_taken() -> None:
    x = torch.randn(2, 5, 4)
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    with mssbench.capture(layer, "x.npy", axis=-1):
        y, _ = layer(x, x, x)
    np.testing.assert_allclose(np.load("x.npy"), covariances(y.mT), atol=1e-15)


def test_no_more_than_most_are_taken() -> None:
    layer = nn.Identity()
    with mssbench.capture(layer, "x.npz", most=5, features=True) as taken:
        for _ in range(3):
            layer(torch.randn(4, 3, 6))
    assert taken.count == 5
    stored = np.load("x.npz")
    assert stored["matrices"].shape == (5, 3, 3)
    assert stored["features"].shape == (5, 3, 6)


def test_the_model_is_as_before_and_its_gradients_too() -> None:
    layer = nn.Linear(3, 4)
    x = torch.randn(9, 3)
    with mssbench.capture(layer, "x.npy"):
        layer(x).sum().backward()
    assert layer.bias.grad is not None
    assert not layer._forward_hooks
    before = Path("x.npy").read_bytes()
    layer(x)
    assert Path("x.npy").read_bytes() == before


def test_nothing_is_written_where_the_block_raises() -> None:
    layer = nn.Identity()
    with pytest.raises(InputError, match="gives NoneType, which is not a tensor"):
        captured(layer, "x.npy", torch.randn(4, 3, 6), None)
    assert not Path("x.npy").exists()
    assert not layer._forward_hooks


@pytest.mark.parametrize(
    ("path", "options", "words"),
    [
        ("x.pt", {}, "capture: x.pt does not end in .npz or .npy."),
        (
            "x.npy",
            {"features": True},
            "capture: a .npy file such as x.npy can hold one array only. To keep the features too, "
            "give a name that ends in .npz.",
        ),
        ("gone/x.npy", {}, "capture: there is no folder gone."),
        ("x.npy", {"of": "weights"}, "capture: of = 'weights' is neither 'output' nor 'input'."),
        ("x.npy", {"most": 0}, "capture: most = 0 leaves no matrix."),
        ("x.npy", {}, "capture: the module was not called inside the block."),
    ],
)
def test_what_cannot_be_is_refused(path: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught, mssbench.capture(nn.Identity(), path, **options):
        pass
    assert str(caught.value) == words
    assert not Path(path).exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            torch.ones(3),
            "a tensor of shape (3,) is not a batch of features. These are (b, c, h, w) or "
            "(b, c, M), b samples of c channels at h x w or M positions, or (b, n), b samples of n "
            "channels.",
        ),
        (
            torch.ones(3, 3, dtype=torch.int64),
            "torch.int64 are not floating-point numbers, as features are: convert them, for "
            "example by .float().",
        ),
        (
            torch.ones(2, 3, 1),
            "one sample of 3 channels has no covariance: give two positions or more.",
        ),
        ({"x": 1}, "the module gives dict, which is not a tensor."),
    ],
)
def test_an_output_that_is_no_features_is_refused(given: object, words: str) -> None:
    layer = nn.Identity()
    with pytest.raises(InputError) as caught, mssbench.capture(layer, "x.npy"):
        layer(given)
    assert str(caught.value) == f"capture: {words}"


def test_channels_and_kept_features_must_agree() -> None:
    layer = nn.Identity()
    other_channels = torch.randn(2, 3, 6), torch.randn(2, 4, 6)
    with pytest.raises(InputError, match="had 3 channels before, and 4 now"):
        captured(layer, "x.npz", *other_channels)
    other_positions = torch.randn(2, 3, 6), torch.randn(2, 3, 7)
    with pytest.raises(InputError, match="features of several shapes"):
        captured(layer, "x.npz", *other_positions, features=True)
    captured(layer, "x.npz", *other_positions)
    assert len(np.load("x.npz")["matrices"]) == 4


def test_a_last_batch_of_one_sample_loses_nothing_of_the_others(tmp_path: Path) -> None:
    """The rest of a data set: of (b, n) the batch is the samples, and one has no covariance."""
    layer = torch.nn.Linear(3, 4)
    with mssbench.capture(layer, tmp_path / "cov.npy"):
        for samples in (8, 8, 1):
            layer(torch.randn(samples, 3))
    assert np.load(tmp_path / "cov.npy").shape == (2, 4, 4)
