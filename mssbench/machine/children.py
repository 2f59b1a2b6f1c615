"""Make sure that this process receives the exit statuses of its children."""

import signal
import threading


def heed() -> None:
    """Restore the default handler of SIGCHLD if the signal is ignored.

    A program that ignores SIGCHLD passes this on to the programs that it starts. The kernel then
    keeps no exit statuses, so that every child seems to have succeeded. Only the main thread can
    change a handler; in other threads nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if not hasattr(signal, "SIGCHLD"):  # on Windows, where an exit status is never lost
        return
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
