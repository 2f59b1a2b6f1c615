"""Train networks in processes of their own, several at a time."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from mssbench.records.measurement import Status
from mssbench.records.training import TrainingCell
from mssbench.run.training_folder import checkpoint

_PAUSE = 0.2  # seconds between two looks at whether the user has asked to stop
_LAST_WORDS = 300  # characters of a crashed process's stderr that become its reason
_MOST_BYTES = 4096  # of stderr that are read for them
# How often a training is started whose process is killed by a signal. Often somebody else is the
# reason, such as the kernel for want of memory, and it goes on from its last epoch.
_STARTS = 2
Watcher = Callable[[TrainingCell, Mapping[str, Any]], None]


class Workers:
    """Runs trainings in processes. path: the folder. asked: what each process is told besides."""

    def __init__(self, path: Path, asked: Mapping[str, Any], watch: Watcher) -> None:
        self._path, self._asked, self._watch = path, asked, watch
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def trained(
        self, cells: Sequence[TrainingCell], at_once: int, asked: Callable[[], bool]
    ) -> Iterator[tuple[TrainingCell, dict[str, Any]]]:
        """Yield each cell with its result, in the order in which the trainings end.

        asked: whether the run is to stop; then the rest are `interrupted`. They also stop if the
        caller leaves the loop early, for example because it cannot write a result.
        """
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            futures: dict[Future[dict[str, Any]], TrainingCell] = {
                pool.submit(self._train, cell): cell for cell in cells
            }
            waiting = set(futures)
            try:
                while waiting:
                    done, waiting = wait(waiting, timeout=_PAUSE, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield futures[future], future.result()
                    if asked():
                        self._stop()
            finally:
                self._stop()

    def _train(self, cell: TrainingCell) -> dict[str, Any]:
        """Train the network of a cell in a process, and return its result.

        `killed` says whether the process was killed before it had a result.
        """
        if self._stopped:
            return {"status": str(Status.INTERRUPTED), "reason": "the run was stopped before it"}

        codes: list[int] = []
        while True:
            result, code, errors = self._once(cell)
            if "status" in result:
                result |= {"killed": False}
                break
            codes.append(code)
            if code >= 0 or self._stopped or len(codes) == _STARTS:
                result = self._without_a_result(codes, errors)
                break

        self._watch(cell, result)
        return result

    def _once(self, cell: TrainingCell) -> tuple[dict[str, Any], int, str]:
        """Start the process of a cell, and return its last message, its exit code and its stderr.

        stderr is a file, and not a pipe, since a process that fills a pipe waits for its reader.
        """
        with TemporaryFile() as stderr:
            last, code = self._messages(cell, stderr)
            size = stderr.seek(0, os.SEEK_END)
            stderr.seek(max(0, size - _MOST_BYTES))
            return last, code, stderr.read().decode(errors="replace")

    def _messages(self, cell: TrainingCell, stderr: IO[bytes]) -> tuple[dict[str, Any], int]:
        """Run the process of a cell, and return its last message and its exit code."""
        with self._process(cell, stderr) as process:
            last: dict[str, Any] = {}
            assert process.stdout is not None
            for line in process.stdout:
                message = _message(line)
                if message is None:
                    continue
                last = message
                if "epoch" in message:
                    self._watch(cell, message["epoch"])
        return last, process.returncode

    def _without_a_result(self, codes: Sequence[int], errors: str) -> dict[str, Any]:
        """Return the result of a training whose processes ended without one.

        codes: the exit code of each start. errors: the stderr of the last one.
        """
        killed = codes[-1] < 0
        if self._stopped:
            reason = "the run was stopped during it"
            return {"status": str(Status.INTERRUPTED), "reason": reason, "killed": killed}
        words = " ".join(errors.split())[-_LAST_WORDS:]
        reason = ". ".join(filter(None, [f"its process ended {_ends(codes)}", words]))
        return {"status": str(Status.CRASHED), "reason": reason, "killed": killed}

    @contextmanager
    def _process(self, cell: TrainingCell, stderr: IO[bytes]) -> Iterator["subprocess.Popen[str]"]:
        """Start the process that trains a cell. At the end of the block it has ended."""
        command = [sys.executable, "-m", "mssbench.training.one"]
        asked = {
            "cell": asdict(cell),
            "checkpoint": str(checkpoint(self._path, cell).resolve()),
            **self._asked,
        }
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",  # a library that writes other bytes must not end the run
            start_new_session=True,
        ) as process:
            with self._lock:
                self._running.add(process)
                if self._stopped:  # between the start of the process and now
                    process.terminate()
            try:
                assert process.stdin is not None
                # A process that was killed at once reads nothing; its exit code says what happened.
                with suppress(BrokenPipeError), process.stdin:
                    process.stdin.write(json.dumps(asked))
                yield process
                process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
                if process.poll() is None:
                    process.kill()

    def _stop(self) -> None:
        """Ask all processes to end. They leave the state after their last complete epoch."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()


def _ends(codes: Sequence[int]) -> str:
    """Return how the starts of a process ended, from their exit codes: `twice by signal 9`."""
    hows = [f"signal {-code}" if code < 0 else f"exit code {code}" for code in codes]
    if len(hows) > 1 and len(set(hows)) == 1:
        return f"twice by {hows[0]}"
    return f"by {' and then by '.join(hows)}"


def _message(line: str) -> dict[str, Any] | None:
    """Return the message of a line of a process; None for a line that is something else."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
