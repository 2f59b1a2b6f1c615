"""`Worker`, the supervisor's side of a worker process: start it, send it requests, end it."""

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
from mssbench.engines.start import (
    Setup,
    cannot_start,
    code_digest,
    command,
    refuse_other_code,
    variables,
)
from mssbench.errors import RunError
from mssbench.records.cell import Cell
from mssbench.records.measurement import Status

# Characters of stderr in a reason, which `one_line` limits to 400 characters in total.
WORDS = 320
# Time limits of the steps that do not count as time of a method:
START_SECONDS = 180.0  # imports and the CUDA context
PREPARE_SECONDS = 900.0  # making the problem and its reference
CEILINGS_SECONDS = 120.0  # about a second, but the first time a library may have to be loaded
DYING_SECONDS = 10.0  # the end of a killed process; a core dump takes a while
TICK_SECONDS = 0.2  # longest delay until a stop or the death of a worker is noticed
PRINTED_BYTES = 2**24  # of stderr that are kept, so that a method that prints cannot fill the disk
# Signals that others send: the kernel, an administrator, a scheduler, a closing terminal. A cell is
# not blamed for them unless its worker gets one again.
FROM_OUTSIDE = tuple(
    getattr(signal, name)
    for name in ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")
    if hasattr(signal, name)  # Windows lacks two, and starts no worker
)
_PREPARING = "preparing the problem and its reference took over"


class Answer(NamedTuple):
    """The reply of a worker to a request, or how the worker ended without a reply."""

    reply: dict[str, Any] | None
    lost: bool = False  # the worker has ended or must be replaced
    died: bool = False  # it ended by itself; an earlier cell may be the cause
    killed: bool = False  # it was ended by a signal from outside; no cell may be the cause
    status: Status | None = None
    reason: str = ""
    how: str = ""  # the signal that killed it, such as `signal 9 (SIGKILL)`

    @property
    def ok(self) -> bool:
        """Whether every row of the cell was measured and is right."""
        return self.reply is not None and all(r["status"] == Status.OK for r in self.reply["rows"])


class Worker:
    """The process that measures on one slot, a device with cores. It must be closed in any case."""

    def __init__(
        self,
        slot: Slot,
        setup: Setup,
        lock: int,
        stopped: Callable[[], bool],
        arms: int = 1,
    ) -> None:
        """Start the process.

        lock: descriptor of the lock of the device. stopped: whether the run is being stopped. arms:
        number of processes that take turns on the device, including this one.
        """
        self.served = 0  # number of requests so far
        self.killed = ""  # the signal from outside that ended it while it had no cell
        self.undone: tuple[str, ...] = ()  # sentences on what the user's files changed on import
        self.code: str | None = None  # digest of the files of its mssbench, once it has sent it
        self._setup, self._stopped, self._device = setup, stopped, slot.device
        self._rest = b""  # bytes read that are not yet a whole line
        self._noise = b""  # the last line that was not a message of the protocol
        self._since = 0  # offset in its stderr at which the present request begins
        self._errors = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  (closed with the worker)
        self._orphans = Orphans(self._errors.fileno())

        code_digest()  # computed now, before files may change; later compared with the worker's
        try:
            self._process = subprocess.Popen(
                command(setup, os.getpid()),
                env=variables(setup, slot, arms, self._orphans.token),
                pass_fds=[lock],  # the device stays locked until the worker has ended too
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,  # one process group for all its children, to kill them
            )
        except OSError as error:
            self._errors.close()
            self._orphans.close()
            raise cannot_start(setup.python, error.strerror) from None

        if not setup.isolated:
            keep_to(self._process.pid, slot.cores)
        # An isolated worker imports on all cores, while others start, and binds itself to its cores
        # afterwards. The set-up is sent at once, because the worker waits for it.
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
        """Wait for the worker's first message. Return the facts of its machine, and their hash.

        Raises RunError, with the end of the worker's stderr, if the worker does not start. Raises
        it too if the worker's messages have another protocol, or if it runs another mssbench.
        """
        line = self._read(START_SECONDS)
        if line and line["event"] == "protocol":  # sent before it reads the set-up
            self._refuse_other_protocol(line)
            line = self._read(START_SECONDS)

        if not line:
            code = self.kill()
            self.killed = "" if line is None else _from_outside(code)
            how = "did not start in time" if line is None else "ended before its first cell"
            raise RunError(
                f"a worker process, started with {self._setup.python}, {how}: "
                f"{self._last_words() or 'it printed nothing'}. "
                f"Check that `{self._setup.python} -m mssbench doctor` works."
            )

        self._refuse_other_protocol(line)
        refuse_other_code(self._setup, line)
        self.code = line.get("code")
        self.undone = tuple(line.get("undone", ()))
        return line["facts"], line["environment"]

    def _refuse_other_protocol(self, line: dict[str, Any]) -> None:
        if line.get("protocol") != PROTOCOL_VERSION:
            raise RunError(
                f"the mssbench of {self._setup.python} uses protocol {line.get('protocol')}, "
                f"this one uses {PROTOCOL_VERSION}: install the same version of mssbench for both."
            )

    def ceilings(self, device: str) -> dict[str, float] | None:
        """Return the highest rates of the device, measured now; None if the worker has failed."""
        self._send({"ceilings": device})
        line = self._read(CEILINGS_SECONDS)
        if line == {} and not self._alive():
            self.killed = _from_outside(self.kill())
        return line["found"] if line and line["event"] == "ceilings" else None

    def ask(self, cell: Cell, share: float = 1.0) -> Answer:
        """Let the worker measure one cell. Its death or a timeout is also an answer.

        share: which part of the usual sampling time it may take, between 0 and 1.
        """
        request = {"cell": asdict(cell), "share": share}
        return self._asked(request, PREPARE_SECONDS, _PREPARING)

    def hold(self, cell: Cell, *, verify: bool) -> Answer:
        """Let the worker prepare a cell for sampling, and verify its first output if asked to."""
        return self._asked({"hold": asdict(cell), "verify": verify}, PREPARE_SECONDS, _PREPARING)

    def sample(self, count: int, *, last: bool = False) -> Answer:
        """Let the worker take one sample of the cell that it holds.

        count: number of calls. last: whether the output is verified afterwards. A worker of an
        older revision ignores `last`, and its reply has no `verified`.
        """
        request = {"sample": count, "last": last}
        return self._asked(request, self._setup.timeout_seconds, "killed after")

    def _asked(self, request: dict[str, Any], limit: float, what: str) -> Answer:
        """Send a request, and return the answer.

        limit: time limit, in seconds. what: the beginning of the reason for a timeout.
        """
        self.served += 1
        self._since = self._printed()
        self._send(request)

        while True:
            line = self._read(limit)
            if line and line["event"] == "measuring":  # the preparation is over
                limit, what = self._setup.timeout_seconds, "killed after"
                continue
            break

        if line:
            return Answer(line, lost=line.get("lost", False))
        if line is None:
            self.kill()
            return Answer(None, True, status=Status.TIMEOUT, reason=f"{what} {limit:g} s")

        # The pipe is closed: the worker has died, or has closed it and is still running.
        mute = self._alive()
        code = self.kill()
        killed = -code in FROM_OUTSIDE and not mute
        how = "it closed its pipe and did not end" if mute else _how(code)
        words = self._last_words()
        reason = f"the worker died: {how}" + (f": {words}" if words else "")
        how = _from_outside(code) if killed else ""
        return Answer(None, True, True, killed, Status.CRASHED, reason, how)

    def kill(self) -> int:
        """Kill the worker and every process that it started, reap it, and return its exit status.

        It is killed before it is reaped: until then its number cannot belong to another group, and
        a worker that died by itself keeps its exit status. Children that have left the group are
        found as descendants of the worker, or as orphans. Raises RunError if it cannot be killed.
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
        except subprocess.TimeoutExpired:  # it is in a system call that never ends
            raise RunError(
                f"the worker, process {self._process.pid}, cannot be killed: its {self._device} "
                "is stuck. What was measured is saved; the machine may need a restart."
            ) from None

    def close(self) -> None:
        """Kill the worker, and close its pipes and files."""
        try:
            self.kill()
        finally:
            self._orphans.close()

            for file in (self._process.stdin, self._process.stdout, self._errors):
                if file is not None:
                    with contextlib.suppress(OSError):  # a request that it never read
                        file.close()

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        # A broken pipe means that the worker is dead; the next read finds out how it ended.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _read(self, seconds: float) -> dict[str, Any] | None:
        """Return the next message.

        {} if the worker has ended or closed its pipe, None after `seconds` or if the run is being
        stopped.
        """
        assert self._process.stdout is not None

        left, before, late = seconds, time.monotonic(), False
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        while True:
            while b"\n" in self._rest:
                line, self._rest = self._rest.split(b"\n", 1)
                if message := _message(line):
                    return message
                self._noise = line  # printed before the worker moved its channel to another number

            now = time.monotonic()
            # A tick that took much longer counts as two: this process was suspended, and perhaps
            # the worker too.
            left, before = left - min(now - before, 2 * TICK_SECONDS), now
            if late or self._stopped():
                return None
            late = left <= 0  # what has arrived meanwhile is still read once

            if not poll.poll(min(max(left, 0), TICK_SECONDS) * 1000):
                self._trim()
                # A process that the worker forked may keep the pipe open after the worker's death.
                if self._alive() or poll.poll(0):
                    continue
                return {}
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
            if not chunk:
                self._let_die()
                return {}
            self._rest += chunk

    def _alive(self) -> bool:
        """Whether the worker still runs. It is not reaped."""
        if self._process.returncode is not None:
            return False
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def _let_die(self) -> None:
        """Wait for the end of a worker that has closed its pipe."""
        end = time.monotonic() + DYING_SECONDS
        while self._alive() and time.monotonic() < end and not self._stopped():
            time.sleep(0.005)

    def _printed(self) -> int:
        """Return the number of bytes that the worker has written to stderr."""
        return os.fstat(self._errors.fileno()).st_size

    def _trim(self) -> None:
        """Truncate the file of its stderr if it is too large. The worker shares the file offset."""
        if self._printed() > PRINTED_BYTES:
            # What the worker writes between these two calls is cut off too.
            os.lseek(self._errors.fileno(), 0, os.SEEK_SET)
            os.ftruncate(self._errors.fileno(), 0)
            self._since = 0

    def _last_words(self) -> str:
        """Return what the worker printed since the request began, cut to `WORDS` characters.

        That is the end of the text, or the beginning of a fatal error of Python, whose innermost
        line comes first.
        """
        first = max(self._since, self._printed() - 8000)
        text = os.pread(self._errors.fileno(), 8000, first).decode(errors="replace")
        words = " ".join((text.strip("\0 \n") or self._noise.decode(errors="replace")).split())

        fault = words.rfind("Fatal Python error")
        if fault >= 0:
            return words[fault : fault + WORDS]
        return words if len(words) <= WORDS else "..." + words[-WORDS:]


def _message(line: bytes) -> dict[str, Any] | None:
    """Return the message in a line, or None for a line that is no message of the protocol."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    if isinstance(message, dict) and message.keys() == {"protocol"}:  # see worker.serve
        return {"event": "protocol", **message}
    return message if isinstance(message, dict) and "event" in message else None


def _from_outside(code: int) -> str:
    """Return the signal from outside that ended a process; empty if it ended otherwise.

    A signal from outside is one of FROM_OUTSIDE, which the kernel, an administrator or a closing
    terminal sends. code: the exit status of the process, negative for a signal.
    """
    return _named(-code) if -code in FROM_OUTSIDE else ""


def _how(code: int) -> str:
    """Return how a process ended. code: its exit status, negative for a signal."""
    if code >= 0:
        return f"exit status {code}"

    often = ", twice" if -code in FROM_OUTSIDE else ""
    if -code == signal.SIGKILL:
        often += "; the kernel sends it when memory runs out"
    return _named(-code, often)


def _named(number: int, more: str = "") -> str:
    """Return the name of a signal, such as `signal 9 (SIGKILL)`.

    number: of the signal. more: a text to be written behind the name.
    """
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = "unknown"
    return f"signal {number} ({name}{more})"
