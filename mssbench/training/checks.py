"""Checks of a method and of the batch before its network is trained.

In the steps of a training every exception is counted, and none is raised. So what is misspelt, or
what the machine or the size does not allow, is found before the first step.
"""

import torch

from mssbench.errors import InputError, NotInstalled, RegistryError, SuiteError, Unsupported
from mssbench.methods import auto
from mssbench.methods.pair import pair
from mssbench.records.training import MEAN, STAGES
from mssbench.training.network import Method, pooling
from mssbench.training.pooling import AUTO, FEATURES
from mssbench.training.tasks.task import Task
from mssbench.training.transforms import TRANSFORMS

_OF_LAYER = ("center", "floor")  # arguments of `CovariancePooling` that a method may have


def check_batch(task: Task, batch: int) -> None:
    """Raise SuiteError if a task has too few samples for one batch."""
    if batch > len(task.train):
        raise SuiteError(
            f"batch = {batch} is more than the {len(task.train)} training samples of {task.name}. "
            "Choose a smaller batch."
        )


def check_device(device: str) -> None:
    """Raise Unsupported for the device cuda if torch sees no GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise Unsupported("device = 'cuda', and torch sees no GPU here")


def check_epochs(method: Method, epochs: int) -> None:
    """Raise SuiteError if there are too few epochs for a method that takes over in the last stage.

    There are three stages of the learning rate, and each needs an epoch.
    """
    if method.then is not None and epochs < STAGES:
        raise SuiteError(
            f"epochs = {epochs} leaves no last stage for `then`: give {STAGES} epochs or more."
        )


def check_names(method: Method) -> None:
    """Raise InputError if a method, its `then`, or a parameter of one of them does not exist."""
    _check_names(method)
    if method.then is None:
        return
    _check_names(method.then)
    if (method.forward == MEAN) != (method.then.forward == MEAN):
        raise InputError(
            f"forward {MEAN!r} pools to n numbers and other forwards to n (n + 1) / 2, so that one "
            "cannot take over from the other: leave out `then`."
        )


def _check_names(method: Method) -> None:
    if method.forward == MEAN or method.forward in TRANSFORMS:
        of_mean = sorted(method.parameters) if method.forward == MEAN else []
        given = ["backward"] if method.backward else of_mean
        if given:
            raise InputError(f"forward {method.forward!r} takes no root: leave {given[0]} out.")
        pooling(method, 1)  # raises InputError for a parameter that it does not take
        return

    of_pair = {k: v for k, v in method.parameters.items() if k not in _OF_LAYER}
    forward, backward = method.forward, method.backward
    if "ridge" in of_pair:
        raise InputError("a network has no parameter 'ridge'. Did you mean 'floor'?")
    pooling(method, 1)  # raises InputError for a value that the layer does not take
    if forward in (AUTO, FEATURES):
        forward = auto.DEFAULT[0]
    try:
        pair("sqrt", forward, backward or "loewner", tuple(sorted(of_pair.items())), public=True)
    except RegistryError as error:
        raise InputError(str(error)) from None
    except (Unsupported, NotInstalled):  # names are right: it becomes the status of the training
        pass


def check_supported(method: Method, n: int) -> None:
    """Raise Unsupported if this machine, or the size n, does not allow a method or its `then`.

    Raises NotInstalled if a package is missing.
    """
    for named in filter(None, (method, method.then)):
        features = torch.eye(n).repeat(2, 1, 1).requires_grad_()
        try:
            pooling(named, n)(features).sum().backward()
        except InputError as error:
            raise Unsupported(str(error)) from None
        except (Unsupported, NotInstalled):
            raise
        except Exception:  # noqa: S110  (whatever else happens belongs to the curve)
            pass
