"""Determine the status of a cell whose method raised, and the function that a cell calls.

A cell is one combination of methods, problem, size and so on.
"""

import re
import sysconfig
import traceback
from pathlib import Path

from mssbench.errors import InputError, NotInstalled, RegistryError, Unavailable, Unsupported
from mssbench.measure.inputs import Rotation
from mssbench.methods import pair
from mssbench.methods.other_functions import OtherFunction, other_function
from mssbench.methods.pair import Applied, Pair
from mssbench.records.cell import APPLIED, OTHER_FUNCTIONS, Cell
from mssbench.records.measurement import Status

_FRAMES = 3  # innermost stack frames that a reason shows: enough to find the place, and short
# Most characters of an error message that is followed by frames, so that both fit into a table.
_WORDS = 240
_STDLIB = f"{sysconfig.get_path('stdlib')}/"
_OF_OTHERS = (f"{Path(__file__).parent.parent}/", _STDLIB, "<frozen")
_OF_LIBRARY = re.compile(r"-packages/(torch|numpy|scipy|cupy|cupyx|jax|triton)/")


def classify(error: BaseException) -> tuple[Status, str]:
    """Return the status and reason of a cell whose method raised `error`."""
    name, text = type(error).__name__, str(error)
    if isinstance(error, Unsupported | RegistryError):  # another mssbench may not know a method
        return Status.UNSUPPORTED, text
    if isinstance(error, InputError):  # the same, raised by a backward that autograd called
        return Status.UNSUPPORTED, text.removesuffix(".")
    if isinstance(error, NotInstalled):
        return Status.NOT_INSTALLED, text
    if isinstance(error, Unavailable):
        return Status.UNAVAILABLE, text

    # torch's CPU allocator raises a plain RuntimeError; CuPy's and torch's CUDA errors are named
    exhausted = isinstance(error, MemoryError) or "OutOfMemory" in name
    if exhausted or "can't allocate memory" in text or "out of memory" in text.lower():
        return Status.OOM, f"out of memory: {text or name}"

    message = f"{name}: {text}" if text else name
    if not (frames := frames_of_user(error)):
        return Status.CRASHED, message
    # The frames must fit into a table's cell too, so a long message is cut.
    cut = message if len(message) <= _WORDS else message[: _WORDS - 3] + "..."

    return Status.CRASHED, f"{cut} ({', from '.join(frames)})"


def frames_of_user(error: BaseException) -> list[str]:
    """Return where in a user's own code an error was raised, innermost frame first.

    A frame looks like `mine.py:12 in root`. Code of mssbench, of the standard library and of array
    libraries is left out.
    """
    frames = [
        f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_OF_OTHERS) and not _OF_LIBRARY.search(frame.filename)
    ]
    return frames[: -_FRAMES - 1 : -1]


class Violation(Exception):  # noqa: N818
    """A method broke its contract: wrong shape, type or library, or it wrote into its input."""


def pair_of(cell: Cell) -> Pair | Applied | OtherFunction:
    """Return the function that a cell calls, with its backward."""
    backward = None if cell.backward == "none" else cell.backward
    parameters = tuple(sorted(cell.parameters.items()))

    if cell.function in OTHER_FUNCTIONS:
        return other_function(cell.function, cell.forward, backward, parameters)

    applied = cell.function == APPLIED
    function = "isqrt" if applied else cell.function
    root = pair.pair(function, cell.forward, backward, parameters)  # type: ignore[arg-type]
    return Applied(root) if applied else root


def refuse_written(cell: Cell, rotation: Rotation) -> None:
    """Raise Violation if the method wrote into one of the rotating inputs."""
    gradients = cell.backward != "none" or cell.function == APPLIED  # whether cotangents are given
    if array := rotation.written(cotangents=gradients):
        method = cell.forward if array == "input" or cell.backward == "none" else cell.backward
        raise Violation(f"{method} wrote into its {array}: work on a copy")
