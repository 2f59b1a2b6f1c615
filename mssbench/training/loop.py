"""Train one network, count what breaks, and resume from a checkpoint with the same numbers.

Values that are not finite are counted before anything is done about them. Then the policy decides:
as a rule a step whose loss, root or gradient is not finite is skipped, and the weights stay as they
were. A step that raises an exception is always skipped. So a network always ends with a curve,
however wrong its root is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mssbench.training import checkpoint as checkpoints
from mssbench.training.checks import (
    check_batch,
    check_device,
    check_epochs,
    check_names,
    check_supported,
)
from mssbench.training.clock import RootTimer, clock_of
from mssbench.training.curve import Curve, Epoch
from mssbench.training.evaluation import evaluated, spectrum
from mssbench.training.network import Method, Network
from mssbench.training.probes import probe
from mssbench.training.robustness import evaluations
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


def train(
    task: Task,
    method: Method,
    settings: Settings,
    checkpoint: Path | None = None,
    after_epoch: Callable[[Epoch], None] | None = None,
    *,
    timed: bool = True,
    at_epoch: Callable[[int, Network], None] | None = None,
    probes: bool = False,
    robustness: bool = False,
) -> Curve:
    """Train a network for a task and return its curve.

    checkpoint: a file that holds the state after the last complete epoch. If it exists, training
    goes on from it, with the same numbers as without the interruption, on the same machine with the
    same number of threads. after_epoch: is told each epoch that was trained now. at_epoch: is given
    the number of complete epochs and the network before the first step and after each epoch; it
    must leave the network as it is. timed: whether nothing else runs beside, so that times mean
    something; otherwise they are NaN.
    probes: probe the loss around the network after each epoch. robustness: evaluate the trained
    network on changed data, and with truncated eigenvalues.

    Raises SuiteError for a batch that is larger than the training data, for a number of places
    that the task does not have, and for too few epochs for a method `then`. Raises InputError for
    a method that does not exist, and Unsupported or NotInstalled for one that cannot be computed
    here, or if there is no GPU for the device cuda.
    """
    network, optimizer, random, curve = _started(task, method, settings, checkpoint)
    if at_epoch is not None and not curve.epochs:
        at_epoch(0, network)

    # The first epoch has the full rate, however few there are.
    milestones = [max(1, int(share * settings.epochs)) for share in _MILESTONES]
    last_stage = milestones[-1] + 1  # its first epoch
    if method.then is not None and len(curve.epochs) >= last_stage:
        network.pool_by(method.then)

    for number in range(len(curve.epochs) + 1, settings.epochs + 1):
        passed = sum(number > milestone for milestone in milestones)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate / 10**passed
        if method.then is not None and number == last_stage:
            network.pool_by(method.then)
            if not task.has_images:
                network.calibrate(task.train.inputs.to(network.device))

        epoch = _trained_epoch(number, network, optimizer, task, settings, random)
        epoch.accuracy, epoch.failed = evaluated(network, task.test)
        if probes:
            epoch.probes = _probed(network, task, settings)
        if not timed:
            epoch.seconds = epoch.root_seconds = math.nan
        curve.epochs.append(epoch)
        if at_epoch is not None:
            at_epoch(number, network)
        if checkpoint is not None:
            checkpoints.save(checkpoint, network, optimizer, random, curve)
        if after_epoch is not None:
            after_epoch(epoch)
    if robustness:
        curve.robustness = evaluations(network, task)
    return curve


def _started(
    task: Task, method: Method, settings: Settings, checkpoint: Path | None
) -> tuple[Network, torch.optim.Optimizer, torch.Generator, Curve]:
    """Return the network, the optimizer, the random numbers and the curve of a training.

    They are those before the first step, or those that the checkpoint has. Raises what `train`
    raises.
    """
    check_batch(task, settings.batch)
    check_names(method)
    check_device(settings.device)
    check_epochs(method, settings.epochs)
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
        checkpoints.restore(checkpoint, network, optimizer, random, curve)
    return network, optimizer, random, curve


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
    clock = clock_of(network)
    timer = RootTimer(network, clock)
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
    epoch.rank, epoch.condition = spectrum(network.last_features, center=network.center)
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
        epoch.nonfinite_steps += 1
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
    epoch.nonfinite_steps += not finite
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
