"""That this process learns how its children end."""

import signal
import threading


def heed() -> None:
    """Undo an ignored SIGCHLD, which a program passes on to what it starts.

    Under it the kernel keeps no exit status: every child then seems to have succeeded. Only the
    main thread can change that; elsewhere nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if not hasattr(signal, "SIGCHLD"):  # on Windows, where an exit status is never lost
        return
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
