"""Find out which cells (methods, problem, size, ...) this machine can measure, without a call.

A missing thing that only a call can detect, such as a compiler, shows when the cell is measured.
"""

from mssbench import arrays, problems
from mssbench.errors import NotInstalled, RegistryError, Unavailable, Unsupported
from mssbench.machine import devices
from mssbench.methods.method import Method
from mssbench.methods.registry import methods_of
from mssbench.records.cell import APPLIED, OTHER_FUNCTIONS, Cell
from mssbench.records.measurement import Status


def refuse(cell: Cell, forward: Method, backward: Method | None) -> None:
    """Raise an error if a cell cannot be measured, before the matrices of its problem are made.

    Raises Unsupported if its methods, problem, precision and device do not go together, and
    NotInstalled or Unavailable if another machine could measure it. tf32 is refused on a CPU;
    whether a GPU has tensor cores is not asked here.
    """
    library, precision = cell.library, cell.precision

    if cell.device not in arrays.DEVICES[library]:
        raise Unsupported(f"{library} does not run on {cell.device}")
    if precision not in arrays.PRECISIONS[library]:
        raise Unsupported(f"{library} has no {precision}")
    if precision == "tf32" and cell.device != "cuda":
        raise Unsupported("tf32 is a number format of CUDA tensor cores")

    for method in filter(None, (forward, backward)):
        if library not in method.libraries:
            raise Unsupported(f"{method.name} has no {library} version")
        if method.devices and cell.device not in method.devices:
            raise Unsupported(f"it runs on {' or '.join(method.devices)} only")
        if precision not in method.precisions:
            raise Unsupported(f"{method.name} does not exist in {precision}")
        if method.sizes and cell.size not in method.sizes:
            raise Unsupported(
                f"{method.name} takes size {' or '.join(map(str, method.sizes))} only"
            )

    if cell.function in (APPLIED, *OTHER_FUNCTIONS) and library != "torch":
        raise Unsupported(f"{cell.function} is measured as autograd runs it: torch only")
    if reason := problems.check_size(cell.problem, cell.size):
        raise Unsupported(reason)
    devices.check_library(library, cell.device)


def absent(cell: Cell) -> tuple[Status, str] | None:
    """Return the status and reason of a cell that cannot be measured here; None if it can be."""
    try:
        refuse(cell, *methods_of(cell.forward, cell.backward))
    except (Unsupported, RegistryError) as error:
        return Status.UNSUPPORTED, str(error)
    except NotInstalled as error:
        return Status.NOT_INSTALLED, str(error)
    except Unavailable as error:
        return Status.UNAVAILABLE, str(error)

    return None
