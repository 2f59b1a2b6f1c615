"""Ctrl-C, SIGTERM and a lost terminal end a run in good order, with its files complete."""

import os
import signal
from types import FrameType

_ASKING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)  # Windows has no SIGHUP
)
_PATIENCE = 3  # the signal that ends the process at once: by then something must be stuck


class Takedown:
    """While open, these signals are noted instead of raised. Only the main thread can have it.

    An exception at any line could fall between a row's two files; a note is read between events.
    The signals that were ignored before (nohup, a shell's background) stay ignored.
    """

    def __init__(self) -> None:
        self._count = 0
        self._before: dict[int, object] = {}

    def asked(self) -> bool:
        """Whether the run should end."""
        return self._count > 0

    def __enter__(self) -> "Takedown":
        try:
            for number in _ASKING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        except ValueError:  # not the main thread: whoever owns that one handles signals
            pass
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal() gave us

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self._count >= _PATIENCE:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
