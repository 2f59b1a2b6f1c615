"""Which cells can be measured on this machine, as far as that is known without trying.

What a call itself finds to be missing, such as a compiler, shows only when the cell is measured.
"""

from mssbench import arrays, problems
from mssbench.errors import NotInstalled, RegistryError, Unavailable, Unsupported
from mssbench.machine import devices
from mssbench.methods.method import Method
from mssbench.methods.registry import methods_of
from mssbench.records.cell import APPLIED, OTHER_FUNCTIONS, Cell
from mssbench.records.measurement import Status


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
    """The status that the rows of a cell will have here, and why; None where it can be tried."""
    try:
        refuse(cell, *methods_of(cell.forward, cell.backward))
    except (Unsupported, RegistryError) as error:
        return Status.UNSUPPORTED, str(error)
    except NotInstalled as error:
        return Status.NOT_INSTALLED, str(error)
    except Unavailable as error:
        return Status.UNAVAILABLE, str(error)
    return None
