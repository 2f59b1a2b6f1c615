"""Which cells can be measured here, and the status of those that cannot."""

from mssbench import arrays, problems
from mssbench.errors import InputError, NotInstalled, RegistryError, Unavailable, Unsupported
from mssbench.machine.devices import check_library
from mssbench.measure.inputs import Rotation
from mssbench.methods import pair
from mssbench.methods.method import Method
from mssbench.methods.pair import Applied, Pair
from mssbench.records.cell import APPLIED, Cell
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


def refuse(cell: Cell, forward: Method, backward: Method | None) -> None:
    """Raise for what cannot be, before anything is built for it.

    Unsupported where it does not exist, NotInstalled or Unavailable where it could elsewhere.
    """
    library, precision = cell.library, cell.precision
    if cell.device not in arrays.DEVICES[library]:
        raise Unsupported(f"{library} does not run on {cell.device}")
    if precision not in arrays.PRECISIONS[library]:
        raise Unsupported(f"{library} has no {precision}")
    if precision == "tf32" and cell.device != "cuda":
        raise Unsupported("tf32 is a product rule of CUDA tensor cores")
    for method in filter(None, (forward, backward)):
        if library not in method.libraries:
            raise Unsupported(f"{method.name} has no {library} version")
        if precision not in method.precisions:
            raise Unsupported(f"{method.name} does not exist in {precision}")
        if method.sizes and cell.size not in method.sizes:
            raise Unsupported(
                f"{method.name} takes size {' or '.join(map(str, method.sizes))} only"
            )
    if cell.function == APPLIED and library != "torch":
        raise Unsupported(f"{APPLIED} is measured as autograd runs it: torch only")
    if reason := problems.check_size(cell.problem, cell.size):
        raise Unsupported(reason)
    check_library(library, cell.device)


def pair_of(cell: Cell) -> Pair | Applied:
    """What is called."""
    applied = cell.function == APPLIED
    root = pair.pair(
        "isqrt" if applied else cell.function,  # type: ignore[arg-type]
        cell.forward,
        None if cell.backward == "none" else cell.backward,
        tuple(sorted(cell.parameters.items())),
    )
    return Applied(root) if applied else root


def refuse_written(cell: Cell, rotation: Rotation) -> None:
    """Raise Violation for a method that wrote into one of the rotating inputs."""
    gradients = cell.backward != "none" or cell.function == APPLIED  # which are given cotangents
    if what := rotation.written(cotangents=gradients):
        who = cell.forward if what == "input" or cell.backward == "none" else cell.backward
        raise Violation(f"{who} wrote into its {what}")
