"""`CovariancePooling` against the layer of iSQRT-COV, and in the ways in which layers are used."""

import copy
from itertools import pairwise

import pytest
import torch
from helpers.published import PUBLISHED, made
from torch import nn

from mssbench import sqrtm
from mssbench.errors import InputError
from mssbench.training import CovariancePooling
from mssbench.training.pooling import covariance

ISQRT_COV = {"forward": "newton_schulz", "backward": "autodiff", "norm": "trace"}


def feature_map(dtype: torch.dtype = torch.float64, requires_grad: bool = False) -> torch.Tensor:
    return made((2, 6, 4, 4), 7919, 1009).to(dtype).requires_grad_(requires_grad)


def layer(dtype: torch.dtype = torch.float64, **options) -> CovariancePooling:
    """A layer whose convolution is the one that the published numbers were computed with."""
    pool = CovariancePooling(6, 5, **options).to(dtype)  # before, as float32 rounds the weights
    with torch.no_grad():
        dict(pool.named_parameters())["reduction.0.weight"].copy_(made((5, 6, 1, 1), 104729, 997))
    return pool


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize(
    ("dtype", "forward_error", "gradient_error"),
    [(torch.float64, 1e-14, 1e-14), (torch.float32, 1e-6, 1e-5)],
)
def test_equals_the_layer_of_isqrt_cov(steps, dtype, forward_error, gradient_error) -> None:
    pool = layer(dtype, **ISQRT_COV, iterations=steps)
    x = feature_map(dtype, requires_grad=True)
    y = pool(x)
    (y * made((2, 15), 31, 17).to(dtype)).sum().backward()

    published = PUBLISHED[f"mpncov_{steps}"]
    expected = torch.tensor(published["y"], dtype=torch.float64)
    gradient = torch.tensor(published["dx"], dtype=torch.float64)
    assert (y - expected).abs().max() < forward_error
    assert (x.grad.flatten() - gradient).abs().max() < gradient_error


def test_the_triangle_has_rows_in_order_and_unscaled_entries() -> None:
    options = {"forward": "eigh", "vectorize": None}
    matrix = layer(**options).eval()(feature_map())
    triangle = layer(forward="eigh").eval()(feature_map())

    by_rows = [matrix[:, i, j] for i in range(5) for j in range(i, 5)]
    assert torch.equal(triangle, torch.stack(by_rows, 1))
    full = layer(forward="eigh", vectorize="full").eval()(feature_map())
    assert torch.equal(full, matrix.flatten(1))


@pytest.mark.parametrize(
    ("vectorize", "shape"), [("triu", (2, 15)), ("full", (2, 25)), (None, (2, 5, 5))]
)
def test_the_size_of_the_output_is_known_beforehand(vectorize, shape) -> None:
    pool = CovariancePooling(6, 5, vectorize=vectorize)
    assert pool(feature_map(torch.float32)).shape == shape
    assert pool.out_features == torch.Size(shape[1:]).numel()


@pytest.mark.parametrize("center", [True, False])
def test_the_covariance_is_biased(center) -> None:
    x = feature_map().flatten(2)
    expected = torch.stack([torch.cov(of_one, correction=0) for of_one in x])
    if not center:
        mean = x.mean(-1, keepdim=True)
        expected = expected + mean @ mean.mT
    torch.testing.assert_close(covariance(x, center=center), expected)


def test_a_named_forward_gets_the_covariance_and_auto_the_features_if_they_are_fewer() -> None:
    """With 3 places and 6 channels, the covariance is singular."""
    x = made((2, 6, 3), 7919, 1009).requires_grad_()
    gradients = {}
    for name in ("auto", "features", "eigh"):
        y = CovariancePooling(6, None, forward=name)(x)
        (gradients[name],) = torch.autograd.grad(y.square().sum(), x)

    assert torch.equal(gradients["auto"], gradients["features"])
    assert not torch.equal(gradients["eigh"], gradients["features"])
    torch.testing.assert_close(gradients["eigh"], gradients["features"], rtol=1e-4, atol=1e-9)


def test_auto_takes_the_covariance_where_it_is_regular() -> None:
    x = feature_map()
    a = covariance(x.flatten(2))
    y = CovariancePooling(6, None, vectorize=None)(x)
    torch.testing.assert_close(y, sqrtm(a, forward="auto"))


def test_the_floor_is_a_share_of_the_mean_eigenvalue() -> None:
    x = feature_map()
    a = covariance(x.flatten(2))
    mean = a.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    for forward in ("eigh", "auto"):
        y = CovariancePooling(6, None, forward=forward, floor=0.1, vectorize=None)(x)
        torch.testing.assert_close(y @ y, a + 0.1 * mean * torch.eye(6, dtype=torch.float64))


def test_the_root_is_in_single_precision_under_autocast() -> None:
    x = feature_map(torch.float32)
    pool = CovariancePooling(6, 5, **ISQRT_COV, iterations=5).eval()
    seen = []
    pool.reduction.register_forward_hook(lambda *called: seen.append(called[2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = pool(x)

    (features,) = seen
    assert features.dtype == torch.bfloat16, "the convolution is not kept from autocast"
    expected = CovariancePooling(5, None, **ISQRT_COV, iterations=5)(features.float())
    assert y.dtype == torch.float32
    assert torch.equal(y, expected)


def test_double_precision_can_be_asked_for() -> None:
    x = feature_map(torch.float32)
    y = CovariancePooling(6, None, forward="eigh", precision="float64")(x)
    assert y.dtype == torch.float64
    torch.testing.assert_close(y, CovariancePooling(6, None, forward="eigh")(x.double()))


@pytest.mark.parametrize("forward", ["auto", "features", "eigh", "newton_schulz"])
def test_compiled_it_gives_the_same_values_and_gradients(forward) -> None:
    pool = CovariancePooling(6, 5, forward=forward).eval()
    compiled = torch.compile(pool, backend="aot_eager")
    results = []
    for module in (pool, compiled):
        x = feature_map(torch.float32, requires_grad=True)
        y = module(x)
        y.square().sum().backward()
        results.append((y.detach(), x.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_copies_parallel_replicas_and_loaded_states_are_the_same_layer() -> None:
    pool = CovariancePooling(6, 5, **ISQRT_COV, iterations=5)
    pool(feature_map(torch.float32))  # moves the running statistics
    pool.eval()
    x = feature_map(torch.float32)
    expected = pool(x)

    assert torch.equal(copy.deepcopy(pool)(x), expected)
    assert torch.equal(nn.DataParallel(pool)(x), expected)
    other = CovariancePooling(6, 5, **ISQRT_COV, iterations=5)
    other.load_state_dict(pool.state_dict())
    assert torch.equal(other.eval()(x), expected)
    assert not any("triangle" in name for name in pool.state_dict())


def test_a_network_learns_through_it() -> None:
    """Two classes that differ in the correlation of two channels alone, and not in any mean."""
    torch.manual_seed(0)
    labels = torch.arange(64) % 2
    x = torch.randn(64, 4, 8, 8)
    x[:, 1] = torch.where(labels[:, None, None] == 1, x[:, 0], x[:, 1])

    pool = CovariancePooling(4, 8, **ISQRT_COV, iterations=5)
    network = nn.Sequential(pool, nn.Linear(pool.out_features, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert losses[-1] < 0.1 < losses[0]
    assert (network(x).argmax(1) == labels).float().mean() > 0.95


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "float46"}, "Did you mean 'float64'"),
        ({"vectorize": "tril"}, "Did you mean 'triu'"),
        ({"forward": "features", "floor": 0.1}, "floor changes the covariance"),
    ],
)
def test_options_that_do_not_exist_are_refused_when_the_layer_is_made(options, words) -> None:
    with pytest.raises(InputError, match=words):
        CovariancePooling(6, 5, **options)


def test_inputs_and_parameters_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(batch, 6, height, width\), got shape \(2, 7, 4, 4\)"):
        CovariancePooling(6, 5)(torch.ones(2, 7, 4, 4))
    with pytest.raises(InputError, match="newton_schulz"):
        CovariancePooling(6, 5, forward="newton_schultz")(feature_map(torch.float32))


def test_an_export_to_onnx_says_why_it_is_not_possible_and_torch_export_works(monkeypatch) -> None:
    pool = CovariancePooling(6, 5, **ISQRT_COV, iterations=5).eval()
    x = feature_map(torch.float32)
    exported = torch.export.export(pool, (x,))
    torch.testing.assert_close(exported.module()(x), pool(x))

    monkeypatch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
    with pytest.raises(InputError, match=r"cannot be exported to ONNX.*torch\.export"):
        pool(x)


def test_it_says_how_the_root_is_taken() -> None:
    text = repr(CovariancePooling(6, 5, **ISQRT_COV, iterations=5))
    words = ["6 -> 15", "channels=5", "newton_schulz + autodiff", "norm=trace", "iterations=5"]
    places = [text.index(word) for word in words]
    assert all(one < other for one, other in pairwise(places))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"forward": "features", "backward": "loewner"}, "'features' chooses the whole pair"),
        ({"forward": "auto", "iterations": 5}, "'auto' chooses the whole pair: leave iterations"),
        ({"channels": 0}, "channels = 0 is not above 0"),
        ({"floor": -1.0}, "floor = -1.0 is not a number of 0 or more"),
        ({"center": "yes"}, "center = 'yes' is neither true nor false"),
    ],
)
def test_an_option_that_would_change_nothing_or_is_wrong_is_refused(options, words) -> None:
    with pytest.raises(InputError, match=words):
        CovariancePooling(16, **{"channels": 8} | options)
