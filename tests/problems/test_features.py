"""Features whose covariance a problem's matrices are."""

import numpy as np
import pytest

from mssbench import problems
from mssbench.problems.features import features

SAMPLES = [
    ("wishart(ratio=0.766)", 64, 49),
    ("wishart(ratio=2)", 16, 32),
    ("relu_features(ratio=0.766)", 16, 12),
    ("convfeat", 64, 49),
    ("pooled_features(positions=196)", 64, 196),
    ("convfeat(positions=20)", 64, 20),
    ("captured(stage=first)", 64, 49),
    ("logspec(condition=1e3)", 8, 8),  # declares none: its rank
    ("wishart(ratio=0.5)|ridge(amount=0.1)", 16, 16),  # the ridge gives it full rank
]


@pytest.mark.parametrize(("name", "size", "samples"), SAMPLES)
def test_the_covariance_of_the_features_is_the_matrix(name, size, samples):
    x = features(name, size, 3, seed=1)
    master = problems.make(name, size, 3, seed=1).master
    assert x.shape == (3, size, samples)
    wrong = np.linalg.norm(x @ x.swapaxes(1, 2) / samples - master, axis=(1, 2))
    assert (wrong / np.linalg.norm(master, axis=(1, 2))).max() < 1e-13


def test_a_batch_is_the_start_of_a_larger_one_and_a_seed_changes_it():
    x = features("wishart(ratio=0.5)", 8, 3, seed=0)
    assert np.array_equal(features("wishart(ratio=0.5)", 8, 2, seed=0), x[:2])
    assert not np.allclose(features("wishart(ratio=0.5)", 8, 3, seed=1), x)


def test_every_declared_number_of_samples_is_at_least_the_rank():
    """More would be a covariance that cannot have its rank; the generator would be at fault."""
    declaring = {name: g for name, g in problems.generators().items() if g.samples}
    counted = {"positions", "samples", "ratio"}
    assert {n for n, g in problems.generators().items() if counted & {*g.parameters}} == {
        *declaring
    }
    for name, generator in declaring.items():
        if generator.package:
            continue
        given = {k: p.default for k, p in generator.parameters.items()}
        assert generator.samples(16, **given) >= 2
        master = problems.make(name, 16, 1, 0).master
        rank = np.linalg.matrix_rank(master[0], hermitian=True)
        assert rank <= generator.samples(16, **given)
