"""What a run and its forecast promise: nothing that cannot be done here, or was not done."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.tables import called, row, write

from mssbench.console.summary import closing
from mssbench.machine import devices
from mssbench.machine.possible import absent
from mssbench.measure.measure import measure
from mssbench.measure.session import Session, Settings
from mssbench.records.summary import Summary
from mssbench.suite.forecast import seconds_here
from mssbench.suite.suite import find, load

NO_GPU = "no CUDA device: the NVIDIA driver shows none"


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "cuda_devices", tuple)


def test_no_minutes_are_promised_for_a_device_that_is_not_there(no_gpu, capsys) -> None:
    code, text, _ = called(capsys, "run", "gpu_first", "--dry-run")
    words = " ".join(text.split())
    assert code == 0
    assert f"will be rows unavailable: {NO_GPU}" in words
    assert "none of which can be measured here" in words
    assert "in all" not in words
    assert "Where they can be measured they take about" in words  # for who plans the run from here

    _, text, _ = called(capsys, "run", "gpu_first", "--dry-run", "--json")
    found = json.loads(text)
    assert found["seconds"] == 0.0
    assert {m["seconds"] for m in found["methods"]} == {0.0}
    assert sum(each["cells"] for each in found["absent"]) == found["cells"]
    assert {each["status"] for each in found["absent"]} <= {
        "unavailable",
        "not_installed",
        "unsupported",
    }
    assert sum(each["seconds"] for each in found["absent"]) > 10


def test_a_part_that_is_here_has_its_own_time(no_gpu, capsys) -> None:
    both = ["quick", "--set", "device=cpu,cuda", "--dry-run", "--json"]
    alone = ["quick", "--set", "device=cpu", "--dry-run", "--json"]
    whole, part = (json.loads(called(capsys, "run", *words)[1]) for words in (both, alone))
    assert whole["cells"] > 1.5 * part["cells"]
    assert whole["seconds"] == pytest.approx(part["seconds"])  # what is not here adds nothing
    _, text, _ = called(capsys, "run", *both[:-1])
    assert "in all" in text
    assert "will be rows unavailable" in text


@pytest.mark.slow
def test_what_is_foretold_of_a_cell_is_what_measuring_it_says(no_gpu) -> None:
    """Every cell that is foretold to be absent is measured, and its row says the same."""
    session = Session(Settings())
    overrides = ["size=16,96", "batch=2", "device=cpu,cuda"]
    of_suite = load(find("standard"), auto="cpu", overrides=overrides).cells
    cells = [*of_suite, *(replace(cell, library="cupy") for cell in of_suite)]
    foretold = Counter()
    for cell in cells:
        found = absent(cell)
        foretold[found and found[0]] += 1
        if found is not None:
            (m, *_) = measure(cell, session).measurements
            assert (m.status, m.reason) == found, cell
    assert {"unavailable", "unsupported", None} <= foretold.keys()


def said(**given) -> str:
    given |= {name: Counter(given.get(name, {})) for name in ("standing", "statuses")}
    return closing(Summary(Path("run"), **given)).plain


def test_nothing_is_left_only_where_something_was_measured() -> None:
    assert said(cells=2, kept=2, standing={"ok": 2}) == "nothing left to measure: 2 cells in run"
    assert said(cells=2, kept=2, standing={"ok": 1, "unavailable": 1}) == (
        "nothing left to measure: 2 cells (1 ok, 1 unavailable) in run"
    )
    assert said(cells=3, kept=3, standing={"unavailable": 2, "unsupported": 1}) == (
        "nothing was measured: 3 cells (2 unavailable, 1 unsupported) in run, none of which can be "
        "measured here"
    )
    assert said(cells=1, kept=1, standing={"crashed": 1}) == (
        "nothing was measured: 1 cell (1 crashed) in run"  # it could be, with --retry
    )


def test_a_run_that_was_stopped_at_once_has_all_of_it_left() -> None:
    """One sentence, which does not say that something was saved."""
    given = {"cells": 3, "kept": 1, "standing": {"ok": 1}}
    assert said(**given, interrupted=True) == (
        "The run was interrupted before a cell was measured: 2 of 3 cells are left in run"
    )
    assert said(**given, over=True) == (
        "The time was over before a cell was measured: 2 of 3 cells are left in run"
    )
    text = said(**given, statuses={"ok": 1}, interrupted=True, seconds=1.0)
    assert text.startswith("interrupted, what was measured is saved. 1 cell: 1 ok")


def test_a_run_that_begins_promises_no_time_for_what_is_not_here(no_gpu) -> None:
    overrides = ["size=16", "batch=2", "device=cpu,cuda"]
    chosen = load(find("quick"), auto="cpu", overrides=overrides)
    here = [cell for cell in chosen.cells if cell.device == "cpu"]
    assert len(here) < len(chosen.cells)
    assert seconds_here(chosen.cells, chosen.policy) == seconds_here(here, chosen.policy) > 0
    there = [cell for cell in chosen.cells if cell.device == "cuda"]
    assert seconds_here(there, chosen.policy) == 0.0


def test_show_ranks_no_times_of_a_busy_machine(tmp_path, capsys):
    """`run` prints no ratio then, and a reader of `show` must not find one either."""
    made = [row(seconds, forward=f, noise="quiet") for f, seconds in (("eigh", 1.0), ("svd", 2.0))]
    folder = write(tmp_path / "run", *made)
    _, out, _ = called(capsys, "show", folder)
    assert "(2.00x)" in out or "(2.0x)" in out
    run = {"started": "2026-11-30T10:00:00", "load_start": [9.0, 9.0, 9.0]}
    facts = {"environments": {"e" * 12: {"cores": {"granted": 2}}}, "runs": {"r" * 12: run}}
    (folder / "environment.json").write_text(json.dumps(facts))
    _, out, _ = called(capsys, "show", folder)
    assert out.startswith("The machine was busy when the run began: load 9.0 on 2 cores.")
    assert "x)" not in out
    _, out, _ = called(capsys, "show", folder, "--value", "root_error")
    assert not out.startswith("The machine was busy"), "errors are not affected"
