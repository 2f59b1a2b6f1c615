"""Train one network, count what breaks, and resume from a checkpoint with the same numbers.

Values that are not finite are counted before anything is done about them. A step whose loss, root
or gradient is not finite, or that raises an exception, is skipped: the weights stay as they were.
So a network always ends with a curve, however wrong its root is.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from torch import Tensor, nn

from mssbench.results.files import replacing
from mssbench.training.checks import check_batch, check_device, check_names, check_supported
from mssbench.training.evaluation import evaluated, spectrum
from mssbench.training.network import Method, Network
from mssbench.training.probes import probe
from mssbench.training.robustness import Evaluation, evaluations
from mssbench.training.tasks.task import Task

# Fractions of the epochs at which the learning rate is divided by ten. The method `then` takes over
# at the last one, as in the published hybrid protocol.
_MILESTONES = (0.5, 0.75)
_MOMENTUM, _DECAY = 0.9, 5e-4  # of SGD, as in the training of iSQRT-COV on small images
_ROTATIONS = 8  # symmetries of a square, by which images are augmented
_PROBED = 2020  # seed of the batch that is probed: the same after each epoch of each training


@dataclass(frozen=True)
class Settings:
    """How a network is trained. Everything here, the task and the method identify a training.

    places, channels: M and n of the covariance; 0 stands for the usual number of the task.
    policy: what is done about a step that is not finite, see `records.training.POLICIES`. device:
    cpu or cuda.
    """

    seed: int
    learning_rate: float = 0.1
    epochs: int = 8
    batch: int = 32
    places: int = 0
    channels: int = 0
    policy: str = "skip"
    device: str = "cpu"


@dataclass
class Epoch:
    """What one epoch recorded; one row of the table of curves.

    loss: the mean over the steps with a finite loss. accuracy: on the test data after the epoch.
    seconds: processor time of the training steps; on a GPU, elapsed time. root_seconds: the part of
    it in the forward of the pooling.
    nonfinite_loss, nonfinite_root, nonfinite_gradient: steps in which these were not finite.
    exceptions: steps that raised one, and `exception`, the first of its messages.
    skipped: steps that did not change the weights. failed: test samples without a finite result.
    gradient_median, gradient_largest: norms of the gradient of all weights, over the other steps.
    rank, condition: medians, over a batch, of the number of live eigenvalues of the covariance and
    of the ratio of the largest one to the smallest live one. first_skipped: the number of the first
    step of the epoch that was skipped. probes: what `probe` found after the epoch.
    """

    epoch: int
    loss: float = math.nan
    accuracy: float = math.nan
    steps: int = 0
    seconds: float = 0.0
    root_seconds: float = 0.0
    nonfinite_loss: int = 0
    nonfinite_root: int = 0
    nonfinite_gradient: int = 0
    exceptions: int = 0
    skipped: int = 0
    failed: int = 0
    gradient_median: float = math.nan
    gradient_largest: float = math.nan
    rank: float = math.nan
    condition: float = math.nan
    exception: str = ""
    first_skipped: int | None = None
    probes: dict[str, float] = field(default_factory=dict)


@dataclass
class Curve:
    """The result of a training: its epochs, and the digests by which trainings compare.

    initial: over the weights before the pooling, before the first step. task: over the data.
    robustness: how accurate the trained network is on changed data, if that was asked for.
    """

    initial: str
    task: str
    epochs: list[Epoch] = field(default_factory=list)
    robustness: list[Evaluation] = field(default_factory=list)

    @property
    def nonfinite_share(self) -> float:
        """The share of all steps that were skipped because something was not finite or raised."""
        steps = sum(epoch.steps for epoch in self.epochs)
        return sum(epoch.skipped for epoch in self.epochs) / steps if steps else 0.0


def train(
    task: Task,
    method: Method,
    settings: Settings,
    checkpoint: Path | None = None,
    after_epoch: Callable[[Epoch], None] | None = None,
    *,
    at_epoch: Callable[[int, Network], None] | None = None,
    probes: bool = False,
    robustness: bool = False,
) -> Curve:
    """Train a network for a task and return its curve.

    checkpoint: a file that holds the state after the last complete epoch. If it exists, training
    goes on from it, with the same numbers as without the interruption, on the same machine with the
    same number of threads. after_epoch: is told each epoch that was trained now. at_epoch: is given
    the number of complete epochs and the network before the first step and after each epoch; it
    must leave the network as it is.
    probes: probe the loss around the network after each epoch. robustness: evaluate the trained
    network on changed data, and with truncated eigenvalues.

    Raises SuiteError for a batch that is larger than the training data and for a number of places
    that the task does not have, InputError for a method that does not exist, and Unsupported or
    NotInstalled for one that cannot be computed here, or if there is no GPU for the device cuda.
    """
    check_batch(task, settings.batch)
    check_names(method)
    check_device(settings.device)
    network = Network(
        task, method, settings.seed, places=settings.places, channels=settings.channels
    )
    check_supported(method, network.n)
    curve = Curve(network.backbone_digest(), task.digest)
    network.to(settings.device)
    if not task.has_images:
        network.calibrate(task.train.inputs.to(network.device))
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=settings.learning_rate,
        momentum=_MOMENTUM,
        weight_decay=_DECAY,
    )
    random = torch.Generator().manual_seed(settings.seed)  # of order and augmentation
    if checkpoint is not None and checkpoint.exists():
        _restore(checkpoint, network, optimizer, random, curve)

    if at_epoch is not None and not curve.epochs:
        at_epoch(0, network)

    # The first epoch has the full rate, however few there are.
    milestones = [max(1, int(share * settings.epochs)) for share in _MILESTONES]
    for number in range(len(curve.epochs) + 1, settings.epochs + 1):
        passed = sum(number > milestone for milestone in milestones)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate / 10**passed
        if method.then is not None and passed == len(milestones):
            network.pool_by(method.then)

        epoch = _trained_epoch(number, network, optimizer, task, settings, random)
        epoch.accuracy, epoch.failed = evaluated(network, task.test)
        if probes:
            epoch.probes = _probed(network, task, settings)
        curve.epochs.append(epoch)
        if at_epoch is not None:
            at_epoch(number, network)
        if checkpoint is not None:
            _save(checkpoint, network, optimizer, random, curve)
        if after_epoch is not None:
            after_epoch(epoch)
    if robustness:
        curve.robustness = evaluations(network, task)
    return curve


def _probed(network: Network, task: Task, settings: Settings) -> dict[str, float]:
    """Return what the first batch of the training data, which is mixed, tells about the network."""
    chosen = torch.randperm(len(task.train), generator=torch.Generator().manual_seed(_PROBED))
    chosen = chosen[: settings.batch]
    inputs, labels = task.train.inputs[chosen], task.train.labels[chosen]
    return probe(network, inputs.to(network.device), labels.to(network.device))


def _trained_epoch(
    number: int,
    network: Network,
    optimizer: torch.optim.Optimizer,
    task: Task,
    settings: Settings,
    random: torch.Generator,
) -> Epoch:
    """Train for one epoch and return its record, without the accuracy."""
    epoch = Epoch(number)
    losses, norms = [], []
    order = torch.randperm(len(task.train), generator=random)
    clock = _clock(network)
    timer = _RootTimer(network, clock)
    network.train()

    for start in range(0, len(order) - settings.batch + 1, settings.batch):
        chosen = order[start : start + settings.batch]
        inputs = _augmented(task, task.train.inputs[chosen], random).to(network.device)
        labels = task.train.labels[chosen].to(network.device)
        begun = clock()
        epoch.steps += 1
        loss, norm = _step(network, optimizer, inputs, labels, epoch, settings.policy)
        epoch.seconds += clock() - begun
        if math.isfinite(loss):
            losses.append(loss)
        if math.isfinite(norm):
            norms.append(norm)

    epoch.root_seconds = timer.stop()
    if losses:
        epoch.loss = sum(losses) / len(losses)
    if norms:
        epoch.gradient_median = float(torch.tensor(norms, dtype=torch.float64).median())
        epoch.gradient_largest = max(norms)
    epoch.rank, epoch.condition = spectrum(network.last_features)
    return epoch


def _step(
    network: Network,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    epoch: Epoch,
    policy: str,
) -> tuple[float, float]:
    """Take one step, unless it fails; return the loss and the norm of the gradient.

    What fails is counted in the record of the epoch, before the policy does anything about it. The
    running statistics of batch normalization are kept from a step that is skipped. A step that
    raises is skipped under every policy.
    """
    before = [buffer.clone() for buffer in network.buffers()]
    optimizer.zero_grad(set_to_none=True)
    try:
        loss = nn.functional.cross_entropy(network(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # LAPACK raises, and so may any method
        epoch.exceptions += 1
        epoch.exception = epoch.exception or f"{type(error).__name__}: {error}"[:200]
        _skip(network, before, epoch)
        return math.nan, math.nan

    pooled = network.last_pooled
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    norm = float(torch.stack([g.double().square().sum() for g in gradients]).sum().sqrt())
    root_is_finite = pooled is None or bool(torch.isfinite(pooled).all())
    epoch.nonfinite_loss += not math.isfinite(loss.item())
    epoch.nonfinite_root += not root_is_finite
    epoch.nonfinite_gradient += not math.isfinite(norm)

    finite = math.isfinite(loss.item()) and root_is_finite and math.isfinite(norm)
    if not finite and policy == "skip":
        _skip(network, before, epoch)
        return loss.item(), norm
    if not finite and policy == "repair":
        for g in gradients:
            g.nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)
    optimizer.step()
    return loss.item(), norm


def _skip(network: Network, buffers: list[Tensor], epoch: Epoch) -> None:
    """Put the buffers of the network back, and count the step as skipped."""
    epoch.skipped += 1
    if epoch.first_skipped is None:
        epoch.first_skipped = epoch.steps
    with torch.no_grad():
        for buffer, kept in zip(network.buffers(), buffers, strict=True):
            buffer.copy_(kept)


def _augmented(task: Task, inputs: Tensor, random: torch.Generator) -> Tensor:
    """Return images after one of the eight symmetries of a square; features as they are."""
    number = int(torch.randint(_ROTATIONS, (1,), generator=random))
    if not task.has_images or task.name == "digits":  # a turned digit is another one, or none
        return inputs
    turned = torch.rot90(inputs, number % 4, (2, 3))
    return turned.flip(3) if number >= 4 else turned


def _clock(network: Network) -> Callable[[], float]:
    """Return what reads the time: processor time, or elapsed time once the GPU has finished."""
    if network.device.type != "cuda":
        return process_time

    def finished() -> float:
        torch.cuda.synchronize(network.device)
        return perf_counter()

    return finished


class _RootTimer:
    """Measures the time of the forwards of a network's pooling. clock: see `_clock`."""

    def __init__(self, network: Network, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds, self._begun = 0.0, 0.0
        self._hooks = [
            network.pooling.register_forward_pre_hook(self._before),
            network.pooling.register_forward_hook(self._after),
        ]

    def _before(self, *_: Any) -> None:
        self._begun = self._clock()

    def _after(self, *_: Any) -> None:
        self._seconds += self._clock() - self._begun

    def stop(self) -> float:
        """Return the seconds so far, and measure no more."""
        for hook in self._hooks:
            hook.remove()
        return self._seconds


def _save(
    file: Path,
    network: Network,
    optimizer: torch.optim.Optimizer,
    random: torch.Generator,
    curve: Curve,
) -> None:
    """Write the state after an epoch to a file, which appears only once it is complete."""
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": random.get_state(),
        "curve": asdict(curve),
    }
    with replacing(file) as temporary:
        torch.save(state, temporary)


def _restore(
    file: Path,
    network: Network,
    optimizer: torch.optim.Optimizer,
    random: torch.Generator,
    curve: Curve,
) -> None:
    """Set network, optimizer, random numbers and curve to the state in a file."""
    state = torch.load(file, weights_only=True, map_location="cpu")
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    random.set_state(state["random"])
    curve.epochs[:] = [Epoch(**epoch) for epoch in state["curve"]["epochs"]]
