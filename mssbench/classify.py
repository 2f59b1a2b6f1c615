"""An exception as a row has it: the status of what raised it, and the reason in words."""

from mssbench.errors import InputError, NotInstalled, RegistryError, Unavailable, Unsupported
from mssbench.records import Status


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
