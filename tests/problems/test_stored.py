"""Problems whose features the package stores."""

import numpy as np
import pytest

from mssbench import problems
from mssbench.problems import stored
from mssbench.problems.real import digest

# By stage: the digest of the stored features and of three matrices of size 64 and seed 0; the
# medians of the condition of the range and of the share of the largest eigenvalue, computed by
# numpy.cov and eigvalsh when the features were made; and the ranks that occur.
STAGES = {
    "start": ("4b4c437611231e9b", "89f232f307112322", 4118.0, 0.2405, {48}),
    "first": ("221fc6173280f273", "e896fc7cfccfc1dd", 193635.0, 0.4875, {45, 46, 48}),
    "middle": ("372cc07c2ea170b5", "8fbea65068c5be6c", 295316.0, 0.5180, {45, 48}),
    "end": ("12b405436c578490", "708cc30a6319a583", 189880.0, 0.5014, {48}),
}
IMAGES = 32


def test_stored_features_come_without_any_package():
    p = problems.make("convfeat", 64, 34, 0)
    assert len({a.tobytes() for a in p.master}) == 34  # drawn anew from index 32 on
    narrow = problems.make("convfeat", 16, 2, 0)
    np.testing.assert_allclose(narrow.master, p.master[:2, :16, :16], atol=1e-14)
    fewer = problems.make("convfeat(positions=10)", 64, 1, 0).master[0]
    assert np.linalg.matrix_rank(fewer) < 10


def test_the_stored_features_are_those_that_were_captured():
    assert stored.features("convfeat_64x49.npz", "features").shape == (32, 49, 64)
    assert (
        digest(stored.features("convfeat_64x49.npz", "features").astype(np.float32))
        == "dd497a94a9f0c433"
    )


@pytest.mark.parametrize("stage", STAGES)
def test_the_features_of_a_stage_are_those_that_were_captured(stage):
    array = stored.features("captured_64x49.npz", stage)
    assert array.shape == (IMAGES, 49, 64)
    np.testing.assert_array_equal(array, array.astype(np.float16))
    assert digest(array.astype(np.float16)) == STAGES[stage][0]
    assert problems.make(f"captured({stage})", 64, 3, 0).digest == STAGES[stage][1]


@pytest.mark.parametrize("stage", STAGES)
def test_the_spectrum_of_a_stage_is_as_documented(stage):
    _, _, condition, top, ranks = STAGES[stage]
    master = problems.make(f"captured({stage})", 64, IMAGES, 0).master
    features = stored.features("captured_64x49.npz", stage)
    expected = np.stack([np.cov(x.T, bias=True) for x in features])
    np.testing.assert_allclose(master, expected, atol=1e-13 * expected.max())

    w = np.linalg.eigvalsh(master)
    live = w > 1e-13 * w[:, -1:]
    assert set(live.sum(1).tolist()) == ranks
    conditions = w[:, -1] / np.where(live, w, np.inf).min(1)
    assert np.median(conditions) == pytest.approx(condition, rel=1e-3)
    assert np.median(w[:, -1] / w.sum(1)) == pytest.approx(top, rel=1e-3)


def test_channels_die_during_the_training_as_documented():
    dead = {}
    for stage in STAGES:
        is_zero = ~stored.features("captured_64x49.npz", stage).any(axis=1)  # (32, 64)
        dead[stage] = int(is_zero.sum(axis=1).max())
    assert dead == {"start": 0, "first": 8, "middle": 11, "end": 12}


def test_positions_of_captured_features_are_drawn_anew_from_the_33rd_matrix_on():
    master = problems.make("captured", 64, 34, 0).master
    assert len({a.tobytes() for a in master}) == 34
    narrow = problems.make("captured", 16, 2, 0).master
    np.testing.assert_allclose(narrow, master[:2, :16, :16], atol=1e-13)
    fewer = problems.make("captured(positions=10)", 64, 1, 0).master[0]
    assert np.linalg.matrix_rank(fewer, hermitian=True) < 10
