"""Changes of test data, and truncated eigenvalues."""

import numpy as np
import pytest
import torch

from mssbench.problems.real import digest
from mssbench.training.loop import Settings, train
from mssbench.training.network import Method, Network
from mssbench.training.robustness import (
    SEVERITIES,
    SHARES,
    TRUNCATION,
    corrupted,
    evaluations,
    kinds,
    truncated,
)
from mssbench.training.tasks.registry import task
from mssbench.training.tasks.task import Data, Task

# Hashes of eight changed images, rounded: they must be the same on every machine.
DIGESTS = {
    "gaussian_noise": "04d40324720e67ce",
    "impulse_noise": "04d140539708cb6c",
    "blur": "df0af04bb66aaf59",
    "contrast": "18c95adda88ad568",
    "pixelate": "34d4ac77d1920495",
    "gamma": "2d48d1dbbf2f2881",
}


def images() -> torch.Tensor:
    return task("digits").test.inputs[:8]


@pytest.mark.parametrize("kind", kinds())
def test_a_change_grows_with_its_severity_and_is_reproducible(kind) -> None:
    x = images()
    distances = [float((corrupted(x, kind, s) - x).norm()) for s in (1, 2, 3, 4, 5)]
    # The exponents of gamma brighten and then darken, and pixels repeat by other patterns.
    if kind not in ("gamma", "pixelate"):
        assert distances == sorted(distances)
    assert distances[0] > 0
    assert digest(corrupted(x, kind, 5).round(decimals=4).numpy()) == DIGESTS[kind]
    assert corrupted(x, kind, 5).shape == x.shape


def test_noise_has_the_standard_deviation_of_its_severity() -> None:
    x = task("digits").test.inputs
    noise = corrupted(x, "gaussian_noise", 3) - x
    assert float(noise.std()) == pytest.approx(0.5, rel=0.02)
    assert abs(float(noise.mean())) < 0.01
    impulses = corrupted(x, "impulse_noise", 5)
    changed = (impulses != x).double().mean()
    assert float(changed) == pytest.approx(0.17, abs=0.01)
    assert set(impulses[impulses != x].tolist()) == {-2.5, 2.5}


def test_pixels_are_repeated() -> None:
    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    side = corrupted(x, "pixelate", 3)[0, 0, 0]
    assert len(set(side.tolist())) == round(0.6 * 8)


def test_a_share_of_the_live_eigenvalues_is_zeroed_and_the_mean_is_kept() -> None:
    x = torch.randn(3, 8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = truncated(x, 0.5)  # rank 4 after centring, of 8
    torch.testing.assert_close(y.mean(-1), x.mean(-1))
    for one, other in zip(x.numpy(), y.numpy(), strict=True):
        whole, part = (np.linalg.eigvalsh(np.cov(z, bias=True))[::-1] for z in (one, other))
        np.testing.assert_allclose(part[:2], whole[:2], rtol=1e-10)
        assert abs(part[2:]).max() < 1e-14 * whole[0]
    torch.testing.assert_close(truncated(x, 0.0), x)


def test_every_change_is_evaluated_and_the_network_stays_as_it_was() -> None:
    made = few()
    network = Network(made, Method("covariance"), seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    found = evaluations(network, made)
    expected = [(kind, s) for kind in kinds() for s in SEVERITIES]
    expected += [(TRUNCATION, share) for share in SHARES]
    assert [(row["change"], row["severity"]) for row in found] == expected
    assert not network.pooling._forward_pre_hooks
    assert all(torch.equal(before[name], x) for name, x in network.state_dict().items())


@pytest.mark.parametrize(("floor", "shares"), [(0.0, 0), (0.01, len(SHARES))])
def test_a_function_that_is_infinite_at_zero_is_not_truncated(floor, shares) -> None:
    made = task("smallcov")
    network = Network(made, Method("logarithm", parameters={"floor": floor}), seed=0)
    assert len(evaluations(network, made)) == shares


def test_second_moments_are_truncated_without_their_mean() -> None:
    x = torch.randn(2, 6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 3
    whole, part = (z @ z.mT / 9 for z in (x, truncated(x, 0.5, center=False)))
    w, kept = np.linalg.eigvalsh(whole.numpy()), np.linalg.eigvalsh(part.numpy())
    np.testing.assert_allclose(kept[:, 3:], w[:, 3:], rtol=1e-10)
    assert abs(kept[:, :3]).max() < 1e-13 * w.max()


def test_features_have_no_images_to_change() -> None:
    made = task("smallcov")
    network = Network(made, Method("covariance"), seed=0)
    assert {row["change"] for row in evaluations(network, made)} == {TRUNCATION}


def test_a_training_evaluates_robustness_if_it_is_asked_to() -> None:
    made = few()
    with_it = train(made, Method("mean"), Settings(seed=0, epochs=1), robustness=True)
    assert len(with_it.robustness) == len(kinds()) * len(SEVERITIES) + len(SHARES)
    without = train(made, Method("mean"), Settings(seed=0, epochs=1))
    assert without.robustness == []
    # The mean of each channel does not depend on the covariance.
    truncations = {r["accuracy"] for r in with_it.robustness if r["change"] == TRUNCATION}
    assert truncations == {with_it.epochs[-1].accuracy}


def few() -> Task:
    made = task("digits")
    parts = (Data(part.inputs[:64], part.labels[:64]) for part in (made.train, made.test))
    train_data, test_data = parts
    return made._replace(train=train_data, test=test_data)
