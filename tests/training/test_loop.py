"""Training: what is counted, what is equal for all methods, and resuming to the bit."""

import io
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import asdict

import numpy as np
import pytest
import torch

from mssbench.errors import InputError, NotInstalled, SuiteError, Unsupported
from mssbench.records.training import TrainingCell
from mssbench.training import loop, one
from mssbench.training.evaluation import evaluated, spectrum
from mssbench.training.loop import Curve, Epoch, Settings, train
from mssbench.training.network import Method, Network
from mssbench.training.tasks.registry import task
from mssbench.training.tasks.task import Data, Task

NS5 = Method("newton_schulz", "autodiff", {"iterations": 5, "norm": "trace"})
EXACT = Method("eigh", "loewner")
METHODS = {
    "mean": Method("mean"),
    "covariance": Method("covariance"),
    "ns5": NS5,
    "exact": EXACT,
    "features": Method("features"),
}
TIMES = ("seconds", "root_seconds")


def numbers(epoch: Epoch) -> dict[str, object]:
    """The record of an epoch without its times; NaN is replaced, as it is unequal to itself."""
    return {
        name: None if isinstance(x, float) and math.isnan(x) else x
        for name, x in asdict(epoch).items()
        if name not in TIMES
    }


def few(name: str, samples: int = 96) -> Task:
    """The first samples of a task, in the order of a fixed permutation."""
    whole = task(name)
    order = torch.randperm(len(whole.train), generator=torch.Generator().manual_seed(1))[:samples]
    train_part = Data(*(tensor[order] for tensor in whole.train))
    return whole._replace(train=train_part, test=Data(*(t[:60] for t in whole.test)))


@pytest.mark.parametrize("name", ["digits", "tex12"])
def test_all_methods_start_from_the_same_backbone_and_see_the_same_order(name, monkeypatch) -> None:
    seen: dict[str, list[bytes]] = {}
    digests = set()
    for label, method in METHODS.items():
        batches = seen.setdefault(label, [])
        original = loop._augmented

        def recorded(*arguments, original=original, batches=batches):
            inputs = original(*arguments)
            batches.append(inputs.numpy().tobytes())
            return inputs

        with monkeypatch.context() as patched:
            patched.setattr(loop, "_augmented", recorded)
            curve = train(few(name), method, Settings(seed=3, epochs=2))
        digests.add(curve.initial)

    assert len(digests) == 1
    assert len({tuple(batches) for batches in seen.values()}) == 1
    assert train(few(name), NS5, Settings(seed=4, epochs=0)).initial not in digests


@pytest.mark.slow
def test_digits_are_learned_by_every_sound_method() -> None:
    for method in METHODS.values():
        curve = train(task("digits"), method, Settings(seed=0, epochs=3))
        assert curve.epochs[-1].accuracy > 0.93, method
        assert curve.nonfinite_share == 0
        assert all(epoch.failed == 0 and not epoch.exception for epoch in curve.epochs)


def test_a_resumed_training_has_the_same_numbers_to_the_bit(tmp_path) -> None:
    made, settings = few("tex12"), Settings(seed=5, epochs=4)
    whole = train(made, NS5, settings)

    class Stop(Exception):
        pass

    def stop(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise Stop

    file = tmp_path / "state.pt"
    with pytest.raises(Stop):
        train(made, NS5, settings, file, stop)
    trained: list[int] = []
    resumed = train(made, NS5, settings, file, lambda epoch: trained.append(epoch.epoch))

    assert trained == [3, 4], "what is done is not trained again"
    assert [*map(numbers, resumed.epochs)] == [*map(numbers, whole.epochs)]


@pytest.mark.exhaustive  # tests/run/test_training.py kills whole runs
def test_a_killed_process_resumes_with_the_same_numbers(tmp_path) -> None:
    script = textwrap.dedent(
        """
        import sys, pathlib, torch
        torch.set_num_threads(1)
        from mssbench.training.loop import Settings, train
        from mssbench.training.network import Method
        from mssbench.training.tasks.registry import task

        method = Method("newton_schulz", "autodiff", {"iterations": 5, "norm": "trace"})
        curve = train(task("digits"), method, Settings(1, epochs=4), pathlib.Path(sys.argv[1]),
                      lambda epoch: print(epoch.epoch, flush=True))
        print([(e.loss.hex(), e.accuracy) for e in curve.epochs])
        """
    )

    def run(file: str, kill_after: str = "") -> str:
        command = [sys.executable, "-c", script, file]
        lines = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                if line.strip() == kill_after:
                    os.kill(process.pid, signal.SIGKILL)
        return lines[-1]

    assert run(str(tmp_path / "killed.pt"), kill_after="2").strip() == "2"
    assert run(str(tmp_path / "killed.pt")) == run(str(tmp_path / "whole.pt"))


def test_a_method_without_a_gradient_ends_with_a_curve_and_is_counted() -> None:
    """Dead channels give equal eigenvalues 0, where SVD's gradient is not finite."""
    curve = train(few("digits"), Method("svd", "autodiff"), Settings(seed=0, epochs=2))
    steps = sum(epoch.steps for epoch in curve.epochs)
    assert steps == 6
    assert sum(epoch.nonfinite_gradient for epoch in curve.epochs) == steps
    assert curve.nonfinite_share == 1
    assert sum(epoch.nonfinite_loss for epoch in curve.epochs) == 0, "the root itself is finite"


def test_a_skipped_step_changes_nothing() -> None:
    made = few("digits")
    network = Network(made, Method("svd", "autodiff"), seed=0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    epoch = Epoch(1, steps=5)
    network.train()
    inputs, labels = (t[:32] for t in made.train)
    loop._step(network, optimizer, inputs, labels, epoch, "skip")

    assert (epoch.skipped, epoch.first_skipped) == (1, 5)
    epoch.steps += 1
    loop._step(network, optimizer, inputs, labels, epoch, "skip")
    assert (epoch.skipped, epoch.first_skipped) == (2, 5)
    assert all(torch.equal(before[name], x) for name, x in network.state_dict().items())


@pytest.mark.parametrize(
    ("policy", "changed", "finite", "skipped"),
    [("skip", False, True, 1), ("repair", True, True, 0), ("apply", True, False, 0)],
)
def test_a_policy_decides_about_a_step_after_it_was_counted(
    policy, changed, finite, skipped
) -> None:
    """The gradient of this root is not finite; that of the classifier is."""
    made = few("digits")
    network = Network(made, Method("svd", "autodiff"), seed=0)
    before = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    epoch = Epoch(1)
    network.train()
    inputs, labels = (t[:32] for t in made.train)
    loop._step(network, optimizer, inputs, labels, epoch, policy)

    after = list(network.parameters())
    assert epoch.nonfinite_gradient == epoch.nonfinite_steps == 1
    assert epoch.skipped == skipped
    assert changed == any(not torch.equal(x, y) for x, y in zip(before, after, strict=True))
    assert finite == all(bool(torch.isfinite(p).all()) for p in after)


@pytest.mark.parametrize("policy", ["skip", "repair", "apply"])
def test_a_method_whose_gradient_is_never_finite_is_nonfinite_under_every_policy(policy) -> None:
    settings = Settings(seed=0, epochs=1, policy=policy)
    curve = train(few("digits"), Method("svd", "autodiff"), settings)
    assert curve.nonfinite_share == 1
    assert "gradient not finite in 3 steps" in curve.causes()


def test_the_last_stage_has_its_method_also_after_a_resume(tmp_path, monkeypatch) -> None:
    """The state may be that after the last epoch, if the process died while it evaluated."""
    made = few("smallcov")
    hybrid = Method("covariance", then=Method("eigh", "loewner"))
    settings, file = Settings(seed=0, epochs=3), tmp_path / "state.pt"
    whole = train(made, hybrid, settings, file, robustness=True)
    resumed = train(made, hybrid, settings, file, robustness=True)
    assert resumed.robustness == whole.robustness
    plain = train(made, Method("covariance"), settings, robustness=True)
    assert plain.robustness != whole.robustness


def test_features_keep_a_standard_deviation_of_one_when_a_method_takes_over() -> None:
    scales = []

    def look(_: int, network: Network) -> None:
        scales.append(float(network.scale))

    hybrid = Method("covariance", then=Method("eigh", "loewner"))
    train(few("smallcov"), hybrid, Settings(seed=0, epochs=4), at_epoch=look)
    alone: list[float] = []
    train(
        few("smallcov"),
        EXACT,
        Settings(seed=0, epochs=0),
        at_epoch=lambda _, n: alone.append(float(n.scale)),
    )
    assert scales[-1] == alone[0]
    assert scales[0] == scales[1] != alone[0]


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_method_of_the_last_stage_needs_three_epochs(epochs) -> None:
    with pytest.raises(SuiteError, match=f"epochs = {epochs} leaves no last stage"):
        train(few("smallcov"), Method("covariance", then=EXACT), Settings(seed=0, epochs=epochs))


def test_another_number_of_threads_begins_again(tmp_path, monkeypatch) -> None:
    made, settings, file = few("smallcov"), Settings(seed=0, epochs=2), tmp_path / "state.pt"
    train(made, EXACT, settings, file)
    seen: list[int] = []
    train(made, EXACT, settings, file, lambda epoch: seen.append(epoch.epoch))
    assert seen == []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    train(made, EXACT, settings, file, lambda epoch: seen.append(epoch.epoch))
    assert seen == [1, 2]


def test_times_beside_other_trainings_are_unknown() -> None:
    for timed in (True, False):
        (epoch,) = train(few("smallcov"), EXACT, Settings(seed=0, epochs=1), timed=timed).epochs
        assert math.isfinite(epoch.seconds) == math.isfinite(epoch.root_seconds) == timed


def test_a_gpu_that_is_not_there_is_unsupported(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unsupported, match="torch sees no GPU"):
        train(few("digits"), EXACT, Settings(seed=0, epochs=1, device="cuda"))


@pytest.mark.parametrize("places", [16, 64])
def test_a_network_pools_over_the_places_and_channels_that_it_is_asked_for(places) -> None:
    network = Network(few("digits"), EXACT, seed=0, places=places, channels=24)
    network(few("digits").train.inputs[:2])
    assert network.last_features is not None
    assert network.last_features.shape == (2, 24, places)


def test_a_training_has_the_places_and_channels_of_its_settings() -> None:
    shapes = set()

    def look(_: int, network: Network) -> None:
        if network.last_features is not None:
            shapes.add(tuple(network.last_features.shape[1:]))

    settings = Settings(seed=0, epochs=1, places=64, channels=24)
    train(few("digits"), EXACT, settings, at_epoch=look)
    assert shapes == {(24, 64)}


def test_a_number_of_places_that_no_network_has_is_refused() -> None:
    with pytest.raises(SuiteError, match="a network for digits cannot pool over 25 places"):
        Network(few("digits"), EXACT, seed=0, places=25)


def test_a_matrix_on_which_lapack_fails_never_ends_a_run(monkeypatch) -> None:
    """It is counted, the run goes on, and the other samples of its batch are evaluated."""
    inputs = torch.randn(64, 64, 64, generator=torch.Generator().manual_seed(0))
    inputs[5] *= 1e3  # by which the stand-in for LAPACK knows it
    data = Data(inputs, torch.arange(64) % 2)
    made = Task("made", 2, data, data, "none")

    calls = {"raised": 0}
    original = torch.linalg.eigh

    def fails_on_the_pinned(a: torch.Tensor, *rest):
        if (a.diagonal(dim1=-2, dim2=-1).sum(-1) > 1e3).any() or a.isnan().any():
            calls["raised"] += 1
            raise torch.linalg.LinAlgError("failed to converge")
        return original(a, *rest)

    monkeypatch.setattr(torch.linalg, "eigh", fails_on_the_pinned)
    curve = train(made, EXACT, Settings(seed=0, epochs=2, batch=32))

    assert calls["raised"] > 0
    assert [epoch.steps for epoch in curve.epochs] == [2, 2]
    assert sum(epoch.exceptions for epoch in curve.epochs) == 2
    assert "failed to converge" in curve.epochs[0].exception
    assert all(epoch.failed == 1 for epoch in curve.epochs), "the other samples are evaluated"


def test_the_hybrid_protocol_changes_the_method_at_the_last_stage() -> None:
    made, settings = few("digits"), Settings(seed=2, epochs=4)
    hybrid = Method(NS5.forward, NS5.backward, NS5.parameters, then=EXACT)
    curves = {
        name: train(made, method, settings).epochs
        for name, method in (("ns5", NS5), ("hybrid", hybrid), ("exact", EXACT))
    }
    first = [[*map(numbers, curves[name][:3])] for name in ("ns5", "hybrid", "exact")]
    assert first[0] == first[1] != first[2]
    assert numbers(curves["hybrid"][3]) != numbers(curves["ns5"][3])


def test_failed_samples_count_as_wrong() -> None:
    made = few("digits")
    network = Network(made, Method("covariance"), seed=0)
    inputs = made.test.inputs.clone()
    inputs[7] = math.nan
    accuracy, failed = evaluated(network, Data(inputs, made.test.labels))
    whole, none = evaluated(network, made.test)
    assert (failed, none) == (1, 0)
    assert accuracy <= whole


def test_rank_and_condition_are_those_of_the_features() -> None:
    x = torch.zeros(3, 4, 9)
    x[:, :2] = torch.randn(2, 9, generator=torch.Generator().manual_seed(0))
    rank, condition = spectrum(x)
    cov = np.cov(x[0, :2].double().numpy(), bias=True)
    w = np.linalg.eigvalsh(cov)
    assert rank == 2
    assert condition == pytest.approx(w[1] / w[0])
    assert all(map(math.isnan, spectrum(x * math.nan)))


def test_a_method_that_does_not_exist_is_refused_and_not_counted() -> None:
    with pytest.raises(InputError, match="newton_schulz"):
        train(few("digits"), Method("newton_schultz"), Settings(seed=0, epochs=1))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (Method("closed_form"), "takes size 2 or 3, not 32"),
        (Method("fused"), "CUDA kernel, and the matrices are on a CPU"),
        (Method("eigh", "kronecker"), "n is 32, and 16 at most"),
        (Method("cholesky"), "computes no root"),
        (Method("eigh", "loewner", then=Method("closed_form")), "takes size 2 or 3"),
    ],
)
def test_a_method_that_the_size_does_not_allow_is_unsupported(method, words) -> None:
    with pytest.raises(Unsupported, match=words):
        train(few("digits"), method, Settings(seed=0, epochs=3))


@pytest.mark.parametrize(
    ("raised", "status"),
    [
        (InputError("no"), "unsupported"),
        (Unsupported("no"), "unsupported"),
        (NotInstalled("no"), "not_installed"),
        (SuiteError("no"), "crashed"),
    ],
)
def test_the_process_says_why_a_training_was_not_possible(
    monkeypatch, capsys, tmp_path, raised, status
) -> None:
    def raising(*_, **__):
        raise raised

    result = result_of_process(raising, monkeypatch, capsys, tmp_path)
    assert result == {"status": status, "reason": "no"}


def test_the_process_says_why_steps_were_skipped(monkeypatch, capsys, tmp_path) -> None:
    epochs = [
        Epoch(1, steps=4, nonfinite_steps=1, nonfinite_gradient=1, nonfinite_root=1),
        Epoch(2, steps=4, nonfinite_steps=3, exceptions=3, exception="LinAlgError: no"),
    ]
    curve = Curve("w", "d", epochs)
    result = result_of_process(lambda *_, **__: curve, monkeypatch, capsys, tmp_path)
    assert result["status"] == "nonfinite"
    assert result["reason"] == (
        "50 % of the steps failed (root not finite in 1 step; gradient not finite in 1 step; "
        "exceptions in 3 steps, the first: LinAlgError: no)"
    )


def result_of_process(instead, monkeypatch, capsys, folder) -> dict:
    """What the process of a training says at its end, if `instead` trains."""
    cell = TrainingCell(
        "smallcov", "eigh", "loewner", "", "float32", "", 0, 0.1, 1, 32, 196, 32, "skip", "cpu"
    )
    monkeypatch.setattr(one, "train", instead)
    monkeypatch.setattr(one.torch, "set_num_threads", lambda _: None)
    asked = {
        "cell": asdict(cell),
        "threads": 1,
        "checkpoint": str(folder / "state.pt"),
        "timed": True,
        "probes": False,
        "robustness": False,
    }
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(asked)))
    one.main()
    return json.loads(capsys.readouterr().out)


def test_a_batch_beyond_the_training_data_is_refused() -> None:
    with pytest.raises(SuiteError, match="batch = 97 is more than the 96 training samples"):
        train(few("digits"), EXACT, Settings(seed=0, epochs=1, batch=97))
    (epoch,) = train(few("digits"), EXACT, Settings(seed=0, epochs=1, batch=96)).epochs
    assert epoch.steps == 1


@pytest.mark.parametrize(
    ("epochs", "rates"),
    [(1, [0.1]), (2, [0.1, 0.001]), (3, [0.1, 0.01, 0.001]), (4, [0.1, 0.1, 0.01, 0.001])],
)
def test_the_first_epoch_has_the_full_rate(epochs, rates, monkeypatch) -> None:
    seen: list[float] = []

    def recorded(number, network, optimizer, *_) -> Epoch:
        seen.append(optimizer.param_groups[0]["lr"])
        return Epoch(number)

    monkeypatch.setattr(loop, "_trained_epoch", recorded)
    train(few("smallcov"), EXACT, Settings(seed=0, learning_rate=0.1, epochs=epochs))
    assert seen == pytest.approx(rates)
