"""The tasks by name."""

from collections.abc import Callable
from functools import lru_cache

from mssbench.errors import SuiteError, unknown
from mssbench.training.tasks import images, small_covariances
from mssbench.training.tasks.task import Task

_MAKERS: dict[str, Callable[[], Task]] = {
    "digits": images.digits,
    "tex12": images.tex12,
    "texfine": images.texfine,
    "smallcov": small_covariances.smallcov,
    "largecov": small_covariances.largecov,
}


def task(name: str) -> Task:
    """Return a task by name. It is made once and must not be changed.

    Raises SuiteError, which suggests the nearest name, for an unknown one, and NotInstalled if a
    package that holds its images is missing.
    """
    if name not in _MAKERS:
        raise SuiteError(unknown("task", name, _MAKERS))
    return _made(name)


def names() -> tuple[str, ...]:
    """Return the names of all tasks."""
    return tuple(_MAKERS)


@lru_cache(maxsize=4)
def _made(name: str) -> Task:
    return _MAKERS[name]()
