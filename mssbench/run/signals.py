"""Let Ctrl-C, SIGTERM and SIGHUP end a run between two events, with its files complete."""

import os
import signal
from types import FrameType

_ASKING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP
)
_PATIENCE = 3  # the third signal ends the process at once, in case it is stuck


class Takedown:
    """Context manager that counts the signals which ask a run to end, instead of raising.

    An exception could strike between the writes to two files of a row, so the run asks for the
    count between events instead. The third signal ends the process at once. Signals that were
    ignored before, as under nohup or in a shell's background, stay ignored. Outside the main thread
    the manager has no effect.
    """

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[int, object] = {}

    def asked(self) -> bool:
        """Whether a signal has asked the run to end."""
        return self._count > 0

    def __enter__(self) -> "Takedown":
        try:
            for number in _ASKING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        except ValueError:  # not the main thread, which alone can handle signals
            pass
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as signal() returned it

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count >= _PATIENCE:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
