"""The supervisor's side of a worker: start it, send it cells, kill it, and say why it ended."""

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import psutil

from mssbench.engines.events import PROTOCOL_VERSION
from mssbench.engines.orphans import Orphans
from mssbench.engines.slots import Slot, keep_to
from mssbench.engines.start import Setup, code_digest, command, refuse_other_code, variables
from mssbench.errors import RunError
from mssbench.records.cell import Cell
from mssbench.records.measurement import Status

WORDS = 320  # characters of stderr in a reason: a table's cell has room for no more
START_SECONDS = 180.0  # imports and the CUDA context: never counted against a cell
PREPARE_SECONDS = 900.0  # problem and certified reference: not the method's doing either
CEILINGS_SECONDS = 120.0  # a second or so, but the first may load a library
DYING_SECONDS = 10.0  # a core dump takes a while
TICK_SECONDS = 0.2  # how long a stop or a silent death may stay unnoticed
PRINTED_BYTES = 2**24  # of stderr that are kept: a method that prints must not fill the disk
# Signals that somebody else sends: the kernel, an administrator, a scheduler, a closing terminal.
# None of them says anything about a cell unless it comes again.
FROM_OUTSIDE = tuple(
    getattr(signal, name)
    for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
    if hasattr(signal, name)  # Windows lacks two, and starts no worker
)
_PREPARING = "preparing the problem and its reference took over"


class Answer(NamedTuple):
    """A worker's reply, or what became of it instead."""

    reply: dict[str, Any] | None
    lost: bool = False  # the worker is gone or useless
    died: bool = False  # it ended by itself: perhaps the doing of a cell before this one
    killed: bool = False  # by a signal from outside: perhaps nobody's doing here
    status: Status | None = None
    reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether all of the cell was measured and found right."""
        return self.reply is not None and all(r["status"] == Status.OK for r in self.reply["rows"])


class Worker:
    """The process that measures on one slot. Close it, whatever happens."""

    def __init__(
        self,
        slot: Slot,
        setup: Setup,
        lock: int,
        stopped: Callable[[], bool],
        arms: int = 1,
    ) -> None:
        """arms: processes that take turns on the device, this one among them."""
        self.served = 0
        self.killed = False  # by a signal from outside, before it was ready
        self.code: str | None = None  # digest of the files of its mssbench, once it has told that
        self._setup, self._stopped, self._device = setup, stopped, slot.device
        self._rest = b""  # read, but not a whole line yet
        self._noise = b""  # the last line that was no message of ours
        self._since = 0  # where in its stderr the present cell begins
        self._errors = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (closed with the worker)
        self._orphans = Orphans(self._errors.fileno())
        code_digest()  # of the files as they are now: a worker's are compared with them
        try:
            self._process = subprocess.Popen(
                command(setup, os.getpid()),
                env=variables(setup, slot, arms, self._orphans.token),
                pass_fds=[lock],  # the device stays ours until this process is gone too
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # its children form one group, killed together
            )
        except OSError as error:
            self._errors.close()
            self._orphans.close()
            raise RunError(
                f"{setup.python} cannot be started: {error.strerror}. "
                "Name a Python interpreter that has mssbench."
            ) from None
        if not setup.isolated:
            keep_to(self._process.pid, slot.cores)
        # An arm imports on several cores, while others start, and keeps to its own from then on,
        # which its facts tell. It is told at once, or it would wait for its turn.
        cores = list(slot.cores) if setup.isolated else None
        self._send(
            {
                "settings": setup.settings,
                "also": setup.also,
                "arms": arms,
                "cores": cores,
                "lock": lock,
            }
        )

    def start(self) -> tuple[dict[str, Any], str]:
        """Wait for its first word: its facts and the hash that names them.

        Raises RunError, with its last words, if it has none.
        """
        line = self._read(START_SECONDS)
        if line and line["event"] == "protocol":  # before it reads a set-up that may differ
            self._refuse_other_protocol(line)
            line = self._read(START_SECONDS)
        if not line:
            code = self.kill()
            self.killed = line is not None and -code in FROM_OUTSIDE
            how = "did not start in time" if line is None else "ended before its first cell"
            raise RunError(
                f"a worker under {self._setup.python} {how}: {self._last_words() or 'no message'}. "
                f"Check that `{self._setup.python} -m mssbench doctor` works."
            )
        self._refuse_other_protocol(line)
        refuse_other_code(self._setup, line)
        self.code = line.get("code")
        return line["facts"], line["environment"]

    def _refuse_other_protocol(self, line: dict[str, Any]) -> None:
        if line.get("protocol") != PROTOCOL_VERSION:
            raise RunError(
                f"{self._setup.python} has an mssbench that speaks protocol {line.get('protocol')},"
                f" this one speaks {PROTOCOL_VERSION}: install versions that match."
            )

    def ceilings(self, device: str) -> dict[str, float] | None:
        """What the machine can do at most, measured now. None where the worker has not said it."""
        self._send({"ceilings": device})
        line = self._read(CEILINGS_SECONDS)
        return line["found"] if line and line["event"] == "ceilings" else None

    def ask(self, cell: Cell, share: float = 1.0) -> Answer:
        """Have one cell measured; whatever happens to the process becomes an answer.

        share: of the time that the policy gives its samples, between 0 and 1.
        """
        request = {"cell": asdict(cell), "share": share}
        return self._asked(request, PREPARE_SECONDS, _PREPARING)

    def hold(self, cell: Cell, *, verify: bool) -> Answer:
        """Have a cell made ready to be sampled, its first output verified if asked."""
        return self._asked({"hold": asdict(cell), "verify": verify}, PREPARE_SECONDS, _PREPARING)

    def sample(self, count: int, *, last: bool = False) -> Answer:
        """Have one sample taken of the cell that is held; of the last one the output is verified.

        A worker of an older revision does not know `last`, and its reply has no `verified`.
        """
        request = {"sample": count, "last": last}
        return self._asked(request, self._setup.timeout_seconds, "killed after")

    def _asked(self, request: dict[str, Any], limit: float, what: str) -> Answer:
        """Send a request; the answer. limit: in seconds; what: a timeout's words before it."""
        self.served += 1
        self._since = self._printed()
        self._send(request)
        while True:
            line = self._read(limit)
            if line and line["event"] == "measuring":
                limit, what = self._setup.timeout_seconds, "killed after"
                continue
            break
        if line:
            return Answer(line, lost=line.get("lost", False))
        if line is None:
            self.kill()
            return Answer(None, True, status=Status.TIMEOUT, reason=f"{what} {limit:g} s")
        mute = self._alive()
        code = self.kill()
        killed = -code in FROM_OUTSIDE and not mute
        how = "it closed its pipe and did not end" if mute else _how(code)
        words = self._last_words()
        reason = f"the worker died: {how}" + (f": {words}" if words else "")
        return Answer(None, True, True, killed, Status.CRASHED, reason)

    def kill(self) -> int:
        """Kill it and all it started, then reap; the exit status.

        The kill comes before the reaping: until then its number cannot name another group, and one
        that died by itself keeps the status it died with. A child that has left the group is found
        below the worker, or where it was left behind.
        """
        if self._process.returncode is None:
            children = []
            with contextlib.suppress(psutil.Error):
                children = psutil.Process(self._process.pid).children(recursive=True)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            for child in children:
                with contextlib.suppress(psutil.Error):
                    child.kill()
        try:
            code = self._process.wait(DYING_SECONDS)
            self._orphans.kill()
            return code
        except subprocess.TimeoutExpired:  # it sits in a system call that never ends
            raise RunError(
                f"the worker, process {self._process.pid}, cannot be killed: its {self._device} "
                "is stuck. What was measured is saved; the machine may need a restart."
            ) from None

    def close(self) -> None:
        """End it and free what it held here."""
        try:
            self.kill()
        finally:
            self._orphans.close()
            for file in (self._process.stdin, self._process.stdout, self._errors):
                if file is not None:
                    with contextlib.suppress(OSError):  # bytes that it never read
                        file.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        # a broken pipe means that it is dead; the read that follows finds out how
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _read(self, seconds: float) -> dict[str, Any] | None:
        """The next message; {} where the worker is gone, None where it took too long or we stop."""
        assert self._process.stdout is not None
        left, before, late = seconds, time.monotonic(), False
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        while True:
            while b"\n" in self._rest:
                line, self._rest = self._rest.split(b"\n", 1)
                if message := _message(line):
                    return message
                self._noise = line  # printed before the worker could move its channel away
            now = time.monotonic()
            # a look that took much longer counts as two ticks: we stood still, and perhaps the
            # worker with us
            left, before = left - min(now - before, 2 * TICK_SECONDS), now
            if late or self._stopped():
                return None
            late = left <= 0  # a last look at what came meanwhile
            if not poll.poll(min(max(left, 0), TICK_SECONDS) * 1000):
                self._trim()
                # a process it forked may hold the pipe open: its own death is the end of it
                if self._alive() or poll.poll(0):
                    continue
                return {}
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
            if not chunk:
                self._let_die()
                return {}
            self._rest += chunk

    def _alive(self) -> bool:
        """Whether it still runs; without reaping it."""
        if self._process.returncode is not None:
            return False
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def _let_die(self) -> None:
        """Its pipe is closed: give it time to finish dying."""
        end = time.monotonic() + DYING_SECONDS
        while self._alive() and time.monotonic() < end and not self._stopped():
            time.sleep(0.005)

    def _printed(self) -> int:
        return os.fstat(self._errors.fileno()).st_size

    def _trim(self) -> None:
        """Forget what it printed, before that fills the disk. It writes where we put the file."""
        if self._printed() > PRINTED_BYTES:
            # it may write between these two: then that is cut off too
            os.lseek(self._errors.fileno(), 0, os.SEEK_SET)
            os.ftruncate(self._errors.fileno(), 0)
            self._since = 0

    def _last_words(self) -> str:
        """What it printed since the cell began, cut to what says most."""
        first = max(self._since, self._printed() - 8000)
        text = os.pread(self._errors.fileno(), 8000, first).decode(errors="replace")
        words = " ".join((text.strip("\0 \n") or self._noise.decode(errors="replace")).split())
        fault = words.rfind("Fatal Python error")  # then the innermost line comes first
        if fault >= 0:
            return words[fault : fault + WORDS]
        return words if len(words) <= WORDS else "..." + words[-WORDS:]


def _message(line: bytes) -> dict[str, Any] | None:
    """A line of the protocol, or None for any other text."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if isinstance(found, dict) and found.keys() == {"protocol"}:  # see worker.serve
        return {"event": "protocol", **found}
    return found if isinstance(found, dict) and "event" in found else None


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    often = ", twice" if -code in FROM_OUTSIDE else ""
    if -code == signal.SIGKILL:
        often += "; the kernel sends it when memory runs out"
    return f"signal {-code} ({name}{often})"
