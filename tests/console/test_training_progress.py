"""The progress of trainings: lines into a log, a bar in a terminal."""

import io
from dataclasses import replace

from rich.console import Console

from mssbench.console.training_progress import TrainingProgress
from mssbench.records.training import TrainingCell

CELL = TrainingCell(
    "digits", "eigh", "loewner", "", "float32", "", 0, 0.1, 2, 32, 16, 32, "skip", "cpu"
)


def epoch(number: int, skipped: int = 0) -> dict:
    return {"epoch": number, "accuracy": 0.5 + number / 10, "skipped": skipped, "steps": 10}


def shown(*messages: tuple[TrainingCell, dict], terminal: bool = False, silence: float = 60) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=100, color_system=None)
    with TrainingProgress(console, silence) as progress:
        progress.begin(3, 2)
        for cell, message in messages:
            progress(cell, message)
    return text.getvalue()


def test_a_log_has_a_line_for_each_end_and_none_for_an_epoch() -> None:
    done = {"status": "ok", "epochs": [epoch(1), epoch(2)]}
    bad = {"status": "nonfinite", "reason": "60 % were skipped", "epochs": [epoch(1, 6), epoch(2)]}
    double = replace(CELL, precision="float64", seed=1)
    lines = shown((CELL, epoch(1)), (CELL, epoch(2)), (CELL, done), (double, bad)).splitlines()
    assert lines == [
        "3 networks to train; 2 are there already",
        "1 of 3  digits seed 0 rate 0.1 eigh + loewner: accuracy 0.700",
        "2 of 3  digits seed 1 rate 0.1 float64 eigh + loewner: accuracy 0.700, 6 of 20 steps "
        "skipped, nonfinite: 60 % were skipped",
    ]


def test_a_long_training_says_that_it_goes_on() -> None:
    lines = shown((CELL, epoch(1)), (CELL, epoch(2)), silence=-1).splitlines()
    assert lines[1] == "digits seed 0 rate 0.1 eigh + loewner: epoch 1 of 2, accuracy 0.600"
    assert len(lines) == 3


def test_a_terminal_keeps_only_what_went_wrong() -> None:
    text = shown(
        (CELL, epoch(1)),
        (CELL, {"status": "ok", "epochs": [epoch(1)]}),
        (CELL, {"status": "crashed", "reason": "signal 9"}),
        terminal=True,
    )
    assert "1 of 3  " not in text
    assert "2 of 3  digits seed 0 rate 0.1 eigh + loewner: crashed: signal 9" in text


def test_what_was_interrupted_has_not_ended() -> None:
    stopped = {"status": "interrupted", "reason": "the run was stopped during it"}
    lines = shown((CELL, stopped), (CELL, {"status": "ok", "epochs": [epoch(1)]})).splitlines()
    assert lines[1].startswith("1 of 3  ")
    assert len(lines) == 2


def test_a_complete_run_says_so() -> None:
    text = io.StringIO()
    with TrainingProgress(Console(file=text, width=100)) as progress:
        progress.begin(0, 5)
    assert text.getvalue() == "nothing left to train; 5 are there already\n"
