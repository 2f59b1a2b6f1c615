"""Features of fixed test images at the stages of a training."""

import io
import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from mssbench import problems
from mssbench.problems import stored
from mssbench.records.training import TrainingCell
from mssbench.training import make_captured, one
from mssbench.training.captured import (
    IMAGES,
    captured_features,
    captured_inputs,
    write_covariances,
)
from mssbench.training.loop import Settings, train
from mssbench.training.network import Method, Network
from mssbench.training.tasks.registry import names, task
from mssbench.training.tasks.task import Data, Task

EXACT = Method("eigh", "loewner")


def few(name: str) -> Task:
    """A task with every tenth sample, so that an epoch takes little time."""
    whole = task(name)
    parts = [Data(*(tensor[::10] for tensor in part)) for part in (whole.train, whole.test)]
    return whole._replace(train=parts[0], test=parts[1])


@pytest.mark.parametrize("name", names())
def test_all_classes_are_among_the_inputs(name) -> None:
    inputs, test = captured_inputs(task(name)), task(name).test
    assert len(inputs) == IMAGES
    rows = {x.numpy().tobytes(): int(label) for x, label in zip(*test, strict=True)}
    found = {rows[x.numpy().tobytes()] for x in inputs}
    assert found == set(test.labels.tolist())


def test_the_features_are_those_that_a_step_of_the_training_pools() -> None:
    network = Network(task("digits"), EXACT, seed=1).eval()
    before = [buffer.clone() for buffer in network.buffers()]
    features = captured_features(network, task("digits"))
    assert features.shape == (IMAGES, 32, 16)
    assert all(torch.equal(a, b) for a, b in zip(before, network.buffers(), strict=True))

    network.train()
    network(captured_inputs(task("digits")))
    assert network.last_features is not None
    assert torch.equal(features, network.last_features)


def test_capturing_leaves_a_training_as_it_is(tmp_path) -> None:
    settings, made = Settings(seed=2, epochs=2), few("digits")
    seen: list[int] = []

    def look(epoch: int, network: Network) -> None:
        seen.append(epoch)
        write_covariances(network, made, tmp_path / f"{epoch}.npz")

    plain, watched = train(made, EXACT, settings), train(made, EXACT, settings, at_epoch=look)
    assert seen == [0, 1, 2]
    assert [e.loss for e in plain.epochs] == [e.loss for e in watched.epochs]
    assert [e.accuracy for e in plain.epochs] == [e.accuracy for e in watched.epochs]

    start, end = (np.load(tmp_path / f"{epoch}.npz")["matrices"] for epoch in (0, 2))
    features = captured_features(Network(made, EXACT, 2), made).double()
    np.testing.assert_allclose(start[5], np.cov(features[5], bias=True), atol=1e-12)
    assert np.abs(end - start).max() > 0.1
    read = problems.make(f"file(path={tmp_path / '2.npz'})", 32, IMAGES, 0)
    np.testing.assert_array_equal(read.master, end)


def test_a_resumed_training_does_not_start_again(tmp_path) -> None:
    made, file, seen = few("digits"), tmp_path / "state.pt", []
    train(made, EXACT, Settings(seed=2, epochs=1), file)
    train(
        made, EXACT, Settings(seed=2, epochs=2), file, at_epoch=lambda epoch, _: seen.append(epoch)
    )
    assert seen == [2]


def test_a_training_that_is_asked_to_writes_a_file_for_each_epoch(
    tmp_path, monkeypatch, capsys
) -> None:
    cell = TrainingCell(
        "smallcov", "covariance", "", "", "float32", "", 0, 0.1, 2, 32, 196, 32, "skip", "cpu"
    )
    asked = {"cell": asdict(cell), "threads": 1, "checkpoint": str(tmp_path / "state.pt")}
    asked |= {"timed": True, "probes": False, "robustness": False, "captured": str(tmp_path)}
    monkeypatch.setattr(one.torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asked)))
    one.main()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["status"] == "ok"
    files = sorted(file.name for file in tmp_path.glob("*.npz"))
    assert files == [f"{cell.cell_id}-{epoch}.npz" for epoch in range(3)]


def test_the_stored_features_of_the_start_are_those_of_the_script() -> None:
    made = make_captured.stages(epochs=0)
    assert list(made) == ["start"]
    expected = stored.features("captured_64x49.npz", "start")
    np.testing.assert_allclose(made["start"].astype(float), expected, atol=0.01)


@pytest.mark.slow
def test_the_stored_features_of_the_first_epoch_are_like_those_of_the_script() -> None:
    """After 75 steps, rounding errors of another machine may have grown, but not to another
    network."""
    made = make_captured.stages(epochs=1)
    for stage in ("start", "first"):
        expected = stored.features("captured_64x49.npz", stage)
        alike = np.corrcoef(made[stage].astype(float).ravel(), expected.ravel())[0, 1]
        assert alike > 0.9, stage
