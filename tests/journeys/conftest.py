"""A user at a shell: commands are typed in an empty folder, and kept with what they printed.

Where MSSBENCH_TRANSCRIPTS names a folder, each journey leaves a transcript there, NAME.txt. It is
written after every command, so that a journey that fails has one as well.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import pytest

TRANSCRIPTS = "MSSBENCH_TRANSCRIPTS"
_HANGS = 900  # seconds


@dataclass(frozen=True)
class Answer:
    """What a command came to. text: its stdout and stderr, in the order in which they came."""

    code: int
    text: str
    seconds: float


@dataclass
class User:
    """Types commands into bash, with the `mssbench` that is installed beside this Python."""

    folder: Path
    transcript: TextIO | None = None
    answers: list[Answer] = field(default_factory=list)

    def types(self, command: str) -> Answer:
        """Run a command to its end."""
        start = time.perf_counter()
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_HANGS,
        )
        answer = Answer(done.returncode, done.stdout, time.perf_counter() - start)
        self.answers.append(answer)
        self._note(f"$ {command}\n{answer.text}[exit code {answer.code}, {answer.seconds:.1f} s]")
        return answer

    def writes(self, name: str, text: str) -> None:
        """Put a file into the folder, as with an editor."""
        (self.folder / name).write_text(text)
        self._note(f"[{name}]\n{text.rstrip()}")

    @property
    def seconds(self) -> float:
        """Seconds that all commands took together."""
        return sum(answer.seconds for answer in self.answers)

    def _note(self, text: str) -> None:
        if self.transcript is not None:
            self.transcript.write(f"{text}\n\n")
            self.transcript.flush()


def _environment() -> dict[str, str]:
    """The environment of the tests, without what they set for themselves."""
    environment = {k: v for k, v in os.environ.items() if k != "KINETO_LOG_LEVEL"}
    beside = Path(sys.executable).parent
    environment["PATH"] = f"{beside}{os.pathsep}{environment.get('PATH', os.defpath)}"
    return environment


@pytest.fixture
def user(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[User]:
    """Someone in an empty folder."""
    if not (Path(sys.executable).parent / "mssbench").is_file():
        pytest.skip("no mssbench is installed beside this Python")

    target = os.environ.get(TRANSCRIPTS)
    if not target:
        yield User(tmp_path)
        return

    Path(target).mkdir(parents=True, exist_ok=True)
    name = request.node.name.removeprefix("test_")
    with (Path(target) / f"{name}.txt").open("w") as transcript:
        yield User(tmp_path, transcript)
