"""Output where the terminal or the pipe knows ASCII only: other characters, and no traceback."""

import os
import subprocess
import sys

import pytest
from helpers.root import ROOT


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "words",
    [
        ("show", "results/cpu-2core-quick"),
        ("--help",),
        ("list", "backends"),
        ("run", "quick", "--dry-run", "--device", "cpu"),
        ("show", "results/none"),
    ],
    ids=lambda words: words[0],
)
def test_every_command_prints_ascii_where_there_is_nothing_else(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mssbench", *words],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        cwd=ROOT,
        capture_output=True,
        timeout=120,
    )
    text = done.stdout + done.stderr
    assert text.isascii()
    assert b"Traceback" not in text
    assert done.returncode == (2 if "none" in words[-1] else 0)
    assert len(text) > 50


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("more", [(), ("--rows", "problem"), ("--columns", "size,problem")])
def test_no_line_is_too_wide_because_a_replacement_is_longer(
    more: tuple[str, ...], columns: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mssbench", "show", "results/cpu-2core-quick", *more],
        env=os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": str(columns)},
        cwd=ROOT,
        capture_output=True,
        timeout=120,
        text=True,
    )
    assert "cond 42" in " ".join(done.stdout.split())
    assert max(map(len, done.stdout.splitlines())) <= columns
