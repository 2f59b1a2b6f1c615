"""Save the state of a training after an epoch, and go on from it."""

from dataclasses import asdict
from pathlib import Path

import torch

from mssbench.results.files import replacing
from mssbench.training.curve import Curve, Epoch
from mssbench.training.network import Network


def save(
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
        "threads": torch.get_num_threads(),
    }
    with replacing(file) as temporary:
        torch.save(state, temporary)


def restore(
    file: Path,
    network: Network,
    optimizer: torch.optim.Optimizer,
    random: torch.Generator,
    curve: Curve,
) -> None:
    """Set network, optimizer, random numbers and curve to the state in a file.

    Nothing is done if the state was computed with another number of threads, with which the same
    steps give slightly different numbers: the training begins again.
    """
    state = torch.load(file, weights_only=True, map_location="cpu")
    if state["threads"] != torch.get_num_threads():
        return
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    random.set_state(state["random"])
    curve.epochs[:] = [Epoch(**epoch) for epoch in state["curve"]["epochs"]]
