"""Probes of the loss: known functions and planted gradients are the judge."""

import math

import pytest
import torch
from torch import nn

from mssbench.records.training import PROBES
from mssbench.training import probes
from mssbench.training.loop import Settings, train
from mssbench.training.network import Method, Network
from mssbench.training.pooling import CovariancePooling
from mssbench.training.tasks.registry import task
from mssbench.training.tasks.task import Data, Task

EXACT = Method("eigh", "loewner")
NS5 = Method("newton_schulz", "autodiff", {"iterations": 5, "norm": "trace"})


def few(name: str, count: int = 64) -> Task:
    """A task with few samples."""
    made = task(name)
    train_data, test_data = (
        Data(*(t[:: len(part) // count][:count] for t in part)) for part in (made.train, made.test)
    )
    return made._replace(train=train_data, test=test_data)


def network_and_batch(
    method: Method, name: str = "digits"
) -> tuple[Network, torch.Tensor, torch.Tensor]:
    made = few(name)
    return Network(made, method, seed=0), made.train.inputs[:32], made.train.labels[:32]


def test_a_quadratic_loss_has_the_probes_that_calculus_gives(monkeypatch) -> None:
    """For L(X) = c ‖X‖² / 2 the gradient is c X, and its change along η g is η c² X."""
    c = 0.5
    monkeypatch.setattr(probes, "_loss", lambda network, x, labels: c * x.square().sum() / 2)
    x = torch.randn(32, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    g = c * x
    norm, loss = float(g.norm()), float(c * x.square().sum() / 2)
    found = probes._landscape(None, x, None, g, loss, norm)  # type: ignore[arg-type]

    least, largest = 0.1 * 32 / 256, 75.0 * 32 / 256
    band = loss * ((1 + largest * c) ** 2 - (1 + least * c) ** 2)
    assert found["band"] == pytest.approx(band)
    assert found["band_normalized"] == pytest.approx(band / (largest * norm**2))
    assert found["gradient_difference"] == pytest.approx(largest * c * norm)
    assert found["difference_normalized"] == pytest.approx(largest * c)
    for name in ("beta_low", "beta_median", "beta_high"):
        assert found[name] == pytest.approx(c)
    assert found["truth"] == pytest.approx(1)

    wrong = probes._landscape(None, x, None, 3 * g, loss, 3 * norm)  # type: ignore[arg-type]
    assert wrong["truth"] == pytest.approx(1 / 3), "a gradient that is three times too large"


@pytest.mark.parametrize(
    "method",
    [
        Method("mean"),
        Method("covariance"),
        NS5,
        EXACT,
        Method("features"),
        Method("gcp_seb", "daleckii_krein"),
        Method("gcp_truncate", "daleckii_krein", {"drop": 16}),
    ],
    ids=lambda method: method.forward,
)
def test_a_true_gradient_foretells_the_change_of_the_loss(method) -> None:
    network, inputs, labels = network_and_batch(method)
    assert probes.probe(network, inputs, labels)["truth"] == pytest.approx(1, abs=0.02)


def test_the_gradient_of_the_published_truncation_does_not() -> None:
    """It drops 24 of 32 eigenvalues, 9 of which are not null."""
    released = Method(
        "gcp_truncate_released", "svd_topn_released", {"drop": 24, "backward_tail": 24}
    )
    network, inputs, labels = network_and_batch(released)
    assert abs(probes.probe(network, inputs, labels)["truth"]) < 0.2


def test_one_value_that_is_not_finite_leaves_no_band(monkeypatch) -> None:
    calls: list[int] = []

    def loss(network: object, x: torch.Tensor, labels: object) -> torch.Tensor:
        calls.append(1)
        return x.square().sum() * (math.nan if len(calls) == 4 else 1.0)

    monkeypatch.setattr(probes, "_loss", loss)
    x = torch.randn(32, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = probes._landscape(None, x, None, 2 * x, 1.0, float(2 * x.norm()))  # type: ignore[arg-type]
    assert all(math.isnan(value) for name, value in found.items() if name != "truth")


def test_a_matrix_of_second_moments_is_judged_as_one() -> None:
    method = Method("eigh", "loewner", {"center": False}, "float64")
    network, inputs, labels = network_and_batch(method)
    assert probes.probe(network, inputs, labels)["gradient_error"] < 1e-5


def test_a_probe_leaves_the_network_as_it_was() -> None:
    network, inputs, labels = network_and_batch(EXACT)
    network.eval()
    network(inputs)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    features = network.last_features
    assert probes.probe(network, inputs, labels)
    assert network.last_features is features
    assert not network.training
    assert all(torch.equal(before[name], x) for name, x in network.state_dict().items())


@pytest.mark.parametrize("broken", ["nan", "raises"])
def test_a_network_that_is_broken_has_no_probes_and_is_left_as_it_was(broken) -> None:
    network, inputs, labels = network_and_batch(EXACT)
    before = {name: tensor.clone() for name, tensor in network.named_buffers()}
    if broken == "nan":
        inputs = inputs * math.nan
    else:
        network.pooling.register_forward_hook(_raise)
    found = probes.probe(network, inputs, labels)
    assert all(math.isnan(value) for value in found.values())
    assert set(found) <= {"probe_loss", "activation_gradient", "amplification", "gradient_error"}
    assert all(torch.equal(before[name], x) for name, x in network.named_buffers())


def _raise(*_: object) -> None:
    raise torch.linalg.LinAlgError("did not converge")


class _Scaled(torch.autograd.Function):
    """The identity, whose gradient is 1.25 times too large."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return 1.25 * g


def test_the_error_of_a_gradient_is_that_which_was_planted() -> None:
    network, inputs, labels = network_and_batch(EXACT)
    right = probes.probe(network, inputs, labels)
    assert right["gradient_error"] < 1e-4

    class Wrong(CovariancePooling):
        def root_of_covariance(self, a: torch.Tensor) -> torch.Tensor:
            return _Scaled.apply(super().root_of_covariance(a))

    network.pooling = Wrong(network.n, None, forward="eigh", backward="loewner")
    wrong = probes.probe(network, inputs, labels)
    assert wrong["gradient_error"] == pytest.approx(0.25, rel=1e-3)
    assert wrong["amplification"] == pytest.approx(1.25 * right["amplification"], rel=1e-3)


def test_amplification_of_the_identity_is_one_and_the_mean_has_none() -> None:
    network, inputs, labels = network_and_batch(Method("covariance"))
    found = probes.probe(network, inputs, labels)
    assert found["amplification"] == pytest.approx(1)
    assert math.isnan(found["gradient_error"])
    network, inputs, labels = network_and_batch(Method("mean"))
    found = probes.probe(network, inputs, labels)
    assert math.isnan(found["amplification"])


def test_the_cut_and_the_features_give_one_gradient() -> None:
    """Fewer places than channels: the covariance is singular."""
    x = torch.randn(8, 32, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gradients = []
    for forward, backward in (("eigh", "loewner"), ("features", None)):
        pooled = CovariancePooling(32, None, forward=forward, backward=backward)(x)
        cotangent = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1))
        gradients.append(torch.autograd.grad(pooled, x, cotangent)[0])
    cut, of_features = gradients
    assert float((cut - of_features).norm() / of_features.norm()) < 1e-4


def test_a_training_is_the_same_with_probes_and_without() -> None:
    made = few("digits")
    probed, plain = (
        train(made, EXACT, Settings(seed=0, epochs=2), probes=probes_too)
        for probes_too in (True, False)
    )
    for one, other in zip(probed.epochs, plain.epochs, strict=True):
        assert (one.loss, one.accuracy) == (other.loss, other.accuracy)
        assert set(one.probes) == {column.name for column in PROBES}
        assert other.probes == {}


def test_probes_move_the_activation_of_the_stem_and_nothing_behind_it(monkeypatch) -> None:
    network, inputs, labels = network_and_batch(EXACT)
    shapes = []

    def after_stem(activation: torch.Tensor) -> torch.Tensor:
        shapes.append(activation.shape)
        return Network.after_stem(network, activation)

    monkeypatch.setattr(network, "after_stem", after_stem)
    probes.probe(network, inputs, labels)
    stem = nn.Sequential(network.stem)(inputs).shape
    assert set(shapes) == {stem}
