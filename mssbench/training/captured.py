"""Features that a network pools for a few test images, which stay the same during a training."""

from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from mssbench.problems.capture import capture
from mssbench.training.network import Network
from mssbench.training.tasks.task import Task

IMAGES = 32  # as many as a batch of the training has, by default


def captured_inputs(task: Task) -> Tensor:
    """Return inputs at equal distances in the test data, so that all classes are among them."""
    return task.test.inputs[[i * len(task.test) // IMAGES for i in range(IMAGES)]]


def before_pooling(network: Network) -> nn.Module:
    """Return a copy of the layers before the pooling, in training mode.

    The copy normalizes by the mean and variance of its batch, as the steps of a training do, and
    leaves the running statistics of the network as they are.
    """
    return deepcopy(nn.Sequential(network.stem, network.body)).train()


def captured_features(network: Network, task: Task) -> Tensor:
    """Return the features that a network pools for the inputs of `captured_inputs`, (b, n, M)."""
    with torch.no_grad():
        maps: Tensor = before_pooling(network)(captured_inputs(task).to(network.device))
    return maps.flatten(2).cpu()


def write_covariances(network: Network, task: Task, file: Path) -> None:
    """Write the covariances of these features to an .npz file for `mssbench run --matrices`."""
    layers = before_pooling(network)
    with torch.no_grad(), capture(layers, file):
        layers(captured_inputs(task).to(network.device))
