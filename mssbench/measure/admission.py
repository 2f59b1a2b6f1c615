"""The status of a cell whose method raised, and what is called of one that can be measured."""

from mssbench.errors import InputError, NotInstalled, RegistryError, Unavailable, Unsupported
from mssbench.measure.inputs import Rotation
from mssbench.methods import pair
from mssbench.methods.other_functions import OtherFunction, other_function
from mssbench.methods.pair import Applied, Pair
from mssbench.records.cell import APPLIED, OTHER_FUNCTIONS, Cell
from mssbench.records.measurement import Status


def classify(error: BaseException) -> tuple[Status, str]:
    """The status and reason of a cell whose method raised `error`."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, Unsupported | RegistryError):  # another mssbench may not know a method
        return Status.UNSUPPORTED, text
    if isinstance(error, InputError):  # the same, out of a backward that autograd called
        return Status.UNSUPPORTED, text.removesuffix(".")
    if isinstance(error, NotInstalled):
        return Status.NOT_INSTALLED, text
    if isinstance(error, Unavailable):
        return Status.UNAVAILABLE, text
    # torch's CPU allocator raises a plain RuntimeError; CuPy's and torch's CUDA errors are named
    exhausted = isinstance(error, MemoryError) or "OutOfMemory" in name
    if exhausted or "can't allocate memory" in text or "out of memory" in text.lower():
        return Status.OOM, f"out of memory: {text or name}"
    return Status.CRASHED, f"{name}: {text}" if text else name


class Violation(Exception):  # noqa: N818
    """A method broke its contract: wrong shape, type or library, or it wrote into its input."""


def pair_of(cell: Cell) -> Pair | Applied | OtherFunction:
    """What is called."""
    backward = None if cell.backward == "none" else cell.backward
    parameters = tuple(sorted(cell.parameters.items()))
    if cell.function in OTHER_FUNCTIONS:
        return other_function(cell.function, cell.forward, backward, parameters)
    applied = cell.function == APPLIED
    function = "isqrt" if applied else cell.function
    root = pair.pair(function, cell.forward, backward, parameters)  # type: ignore[arg-type]
    return Applied(root) if applied else root


def refuse_written(cell: Cell, rotation: Rotation) -> None:
    """Raise Violation for a method that wrote into one of the rotating inputs."""
    gradients = cell.backward != "none" or cell.function == APPLIED  # which are given cotangents
    if what := rotation.written(cotangents=gradients):
        who = cell.forward if what == "input" or cell.backward == "none" else cell.backward
        raise Violation(f"{who} wrote into its {what}")
