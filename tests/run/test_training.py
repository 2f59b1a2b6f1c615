"""Runs of trainings: resume, kills, crashes, other suites."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, fields, replace
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
import torch
from helpers.runs import heed_signals

from mssbench.errors import RunError, SuiteError
from mssbench.records.measurement import Status
from mssbench.records.training import TRAININGS
from mssbench.run import training, training_folder, training_workers
from mssbench.suite.training import load
from mssbench.training.curve import Epoch

SUITE = """
name = "tiny"
[training]
task = "smallcov"
seed = [0, 1]
epochs = 2
[[method]]
forward = "covariance"
[[method]]
forward = "eigh"
backward = "loewner"
"""
FACTS = {"cpu": "test", "versions": {}}
TIMES = ["seconds", "root_seconds"]


@pytest.fixture
def suite(tmp_path):
    file = tmp_path / "tiny.toml"
    file.write_text(SUITE)
    return load(str(file))


def tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_csv(folder / "trainings.csv"), pd.read_csv(folder / "curves.csv")


@pytest.mark.slow
def test_a_run_has_a_row_for_each_training_and_each_epoch(suite, tmp_path) -> None:
    folder = tmp_path / "run"
    messages = []
    rows = training.run(
        suite, folder, facts=FACTS, at_once=2, watch=lambda c, m: messages.append(m)
    )
    of_trainings, curves = tables(folder)

    assert [row["status"] for row in rows] == ["ok"] * 4
    assert len(of_trainings) == 4
    assert len(curves) == 8
    assert sum("status" in message for message in messages) == 4
    assert sum("epoch" in message and "status" not in message for message in messages) == 8
    assert of_trainings["steps"].tolist() == [18] * 4, "300 samples, batches of 32, two epochs"
    assert of_trainings.groupby("seed")["initial"].nunique().tolist() == [1, 1]
    assert not list((folder / "cells").glob("*.pt")), "a finished training needs no state"

    again = []
    training.run(suite, folder, facts=FACTS, watch=lambda c, m: again.append(m))
    assert again == [], "what is there is not trained again"
    pd.testing.assert_frame_equal(tables(folder)[1], curves)

    training.run(
        suite, folder, facts=FACTS, at_once=2, fresh=True, watch=lambda c, m: again.append(m)
    )
    assert len(again) == 12
    numbers = [c for c in curves.columns if c not in TIMES]
    pd.testing.assert_frame_equal(tables(folder)[1][numbers], curves[numbers])


@pytest.fixture
def at_once(monkeypatch, tmp_path):
    """Trainings that end at once, without starting torch: a stand-in for their processes."""
    _stand_in(tmp_path, monkeypatch, "")


def _stand_in(folder: Path, monkeypatch, more: str, after: str = "") -> None:
    """Replace the process of a training by one that runs `more`, ends well, and runs `after`."""
    script = folder / "one.py"
    script.write_text(
        "import json, os, signal, sys\n"
        "asked = json.load(sys.stdin)\n"
        f"{more}"
        f"epoch = json.loads({json.dumps(asdict(Epoch(1)))!r})\n"
        "epochs = [epoch | {'epoch': i + 1} for i in range(asked['cell']['epochs'])]\n"
        "print(json.dumps({'epoch': epochs[0]}))\n"
        "print('not JSON')\n"
        "result = {'status': 'ok', 'reason': '', 'initial': 'w', 'data': 'd', 'robustness': []}\n"
        "print(json.dumps(result | {'epochs': epochs}), flush=True)\n"
        f"{after}"
    )
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{script}"\n')
    python.chmod(0o755)
    monkeypatch.setattr(training_workers.sys, "executable", str(python))


@pytest.mark.usefixtures("at_once")
def test_another_suite_and_another_run_are_refused(suite, tmp_path) -> None:
    folder = tmp_path / "run"
    training.run(suite, folder, facts=FACTS, at_once=2)
    for old, new, words in (
        ('name = "tiny"', 'name = "other"', "holds the results of suite 'tiny', not 'other'"),
        ("[training]", "[training]\nprobes = true", "another value of probes"),
    ):
        (tmp_path / "tiny.toml").write_text(SUITE.replace(old, new))
        with pytest.raises(RunError, match=words):
            training.run(load(str(tmp_path / "tiny.toml")), folder, facts=FACTS)

    # Claims may be edited: they are stored, and nothing is trained again.
    claim = '[[claim]]\nclaim = "a"\nsource = "b"\ncannot = "c"\n'
    ended: list[object] = []
    for text in (SUITE + claim, SUITE + claim.replace('"a"', '"other"'), SUITE):
        (tmp_path / "tiny.toml").write_text(text)
        claimed = load(str(tmp_path / "tiny.toml"))
        training.run(claimed, folder, facts=FACTS, watch=lambda *all_: ended.append(all_))
        assert ('"other"' in (folder / "suite.toml").read_text()) == ('"other"' in text)
    assert not ended

    with training_folder.locked(folder), pytest.raises(RunError, match="in use by another run"):
        training.run(suite, folder, facts=FACTS)


@pytest.mark.parametrize("text", ["name = ", "training = 5", "training = [[1]]"])
@pytest.mark.usefixtures("at_once")
def test_a_damaged_suite_of_a_folder_is_refused(suite, tmp_path, text) -> None:
    folder = tmp_path / "run"
    training.run(suite, folder, facts=FACTS)
    (folder / "suite.toml").write_text(text)
    with pytest.raises(RunError, match=r"suite\.toml is damaged"):
        training.run(suite, folder, facts=FACTS)
    assert (folder / "suite.toml").read_text() == text


@pytest.mark.usefixtures("at_once")
def test_seeds_and_methods_may_be_added_and_what_is_there_is_kept(suite, tmp_path) -> None:
    folder = tmp_path / "run"
    training.run(suite, folder, facts=FACTS)
    more = SUITE.replace("seed = [0, 1]", "seed = [0, 1, 2]") + '[[method]]\nforward = "mean"\n'
    (tmp_path / "tiny.toml").write_text(more)
    begun: list[tuple[int, int]] = []
    rows = training.run(
        load(str(tmp_path / "tiny.toml")), folder, facts=FACTS, begin=lambda *n: begun.append(n)
    )
    assert begun == [(5, 4)]
    assert len(rows) == 9


@pytest.mark.usefixtures("at_once")
def test_a_machine_is_that_on_which_a_network_was_trained(suite, tmp_path) -> None:
    folder = tmp_path / "run"
    first = training.run(suite, folder, facts=FACTS, threads=2)
    elsewhere = FACTS | {"cpu": "another"}
    before = (folder / "environment.json").read_bytes()
    assert training.run(suite, folder, facts=elsewhere) == first, "nothing was trained there"
    assert (folder / "environment.json").read_bytes() == before
    assert {row["threads"] for row in first} == {2}

    # What the machine is called stands in the result, and not only in the tables.
    (folder / "trainings.csv").unlink()
    lost = folder / "cells" / f"{suite.cells[0].cell_id}.json"
    lost.unlink()
    rows = training.run(suite, folder, facts=elsewhere)
    assert len({row["environment"] for row in rows}) == 2
    known = json.loads((folder / "environment.json").read_text())["environments"]
    assert {row["environment"] for row in rows} == set(known)
    assert [known[row["environment"]]["cpu"] for row in rows[:2]] == ["another", "test"]

    rows = training.run(suite, folder, facts=elsewhere, fresh=True)
    known = json.loads((folder / "environment.json").read_text())["environments"]
    assert {row["environment"] for row in rows} == set(known), "no machine is left of before"


@pytest.mark.usefixtures("at_once")
def test_damaged_facts_of_machines_are_refused_and_not_replaced(suite, tmp_path) -> None:
    """The machines of the trainings that are there would be lost."""
    folder = tmp_path / "run"
    training.run(suite, folder, facts=FACTS)
    (folder / "environment.json").write_text('{"environments": ')
    (folder / "cells" / f"{suite.cells[0].cell_id}.json").unlink()
    more = suite.document | {"description": "another"}
    with pytest.raises(RunError, match=r"environment\.json is damaged"):
        training.run(replace(suite, document=more), folder, facts=FACTS)
    assert (folder / "environment.json").read_text() == '{"environments": '
    assert "another" not in (folder / "suite.toml").read_text()
    assert len(training.run(suite, folder, facts=FACTS, fresh=True)) == 4


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "null",
        "{}",
        '{"status": "ok"}',
        '{"status": "ok", "epochs": 5}',
        '{"status": "ok", "epochs": [{}, {}]}',
        '{"status": "ok", "epochs": [',
        lambda found: found.pop("robustness"),
        lambda found: found.pop("initial"),
        lambda found: found["epochs"].pop(),
        lambda found: found["epochs"].reverse(),
        lambda found: found["epochs"][0].pop("exception"),
        lambda found: found["epochs"][0].pop("first_skipped"),
        lambda found: found["epochs"][0].update(probes=[]),
        lambda found: found["epochs"][0].update(seconds=None),
        lambda found: found["epochs"][1].update(accuracy="0.9"),
    ],
)
@pytest.mark.usefixtures("at_once")
def test_a_damaged_result_is_trained_again(suite, tmp_path, text) -> None:
    folder = tmp_path / "run"
    whole = training.run(suite, folder, facts=FACTS)
    file = folder / "cells" / f"{suite.cells[1].cell_id}.json"
    if not isinstance(text, str):
        found = json.loads(file.read_text())
        text(found)
        text = json.dumps(found)
    file.write_text(text)
    begun: list[tuple[int, int]] = []
    rows = training.run(suite, folder, facts=FACTS, begin=lambda *n: begun.append(n))
    assert begun == [(1, 3)]
    assert [row["status"] for row in rows] == [row["status"] for row in whole] == ["ok"] * 4


@pytest.mark.usefixtures("at_once")
def test_tables_without_their_results_are_looked_at_or_trained_again(suite, tmp_path) -> None:
    folder = tmp_path / "run"
    training.run(suite, folder, facts=FACTS)
    shutil.rmtree(folder / "cells")
    table = (folder / "trainings.csv").read_bytes()
    with pytest.raises(RunError, match="without its results in cells/"):
        training.run(suite, folder, facts=FACTS)
    assert (folder / "trainings.csv").read_bytes() == table
    assert len(training.run(suite, folder, facts=FACTS, fresh=True)) == 4


def test_old_tables_are_gone_as_soon_as_everything_is_trained_again(
    suite, tmp_path, monkeypatch
) -> None:
    """A run that is killed then does not show old numbers beside a new suite."""
    _stand_in(tmp_path, monkeypatch, "")
    folder = tmp_path / "run"
    training.run(suite, folder, facts=FACTS)
    there: list[bool] = []
    training.run(
        suite,
        folder,
        facts=FACTS,
        fresh=True,
        begin=lambda *_: there.append((folder / "trainings.csv").exists()),
    )
    assert there == [False]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"smallcov"', '"smalcov"', "Unknown task 'smalcov'. Did you mean 'smallcov'?"),
        (
            "seed = [0, 1]",
            "batch = 301",
            "batch = 301 is more than the 300 training samples of smallcov.",
        ),
        ('"eigh"', '"eihg"', "Unknown forward 'eihg'. Did you mean 'eigh'?"),
        ('"loewner"', '"loewnr"', "Unknown backward 'loewnr'. Did you mean 'loewner'?"),
        ('"loewner"', '"loewner"\nsteps = 3', "forward 'eigh' takes no 'steps'"),
        ('"loewner"', '"loewner"\nridge = 1e-3', "Did you mean 'floor'?"),
        ('"loewner"', '"loewner"\nepochs = 3\nthen = {forward = "svdd"}', "Did you mean 'svd'?"),
        ('"loewner"', '"loewner"\nepochs = 3\nthen = {forward = "mean"}', "cannot take over"),
        ('"covariance"', '"covariance"\nbackward = "loewner"', "takes no root: leave backward"),
        ('"covariance"', '"mean"\niterations = 3', "takes no root: leave iterations out"),
        ('"eigh"\nbackward = "loewner"', '"features"\nbackward = "loewner"', "leave backward"),
        ('"loewner"', '"loewner"\nfloor = "a"', "floor = 'a' is not a number"),
        ('"loewner"', '"loewner"\nfloor = -1.0', "floor = -1.0 is not a number of 0 or more"),
        ('"loewner"', '"loewner"\ncenter = "yes"', "center = 'yes' is neither true nor false"),
        ('"covariance"', '"power"\nexponent = "half"', "exponent = 'half' is not a number"),
        ('"covariance"', '"auto"\niterations = 3', "chooses the whole pair: leave iterations"),
    ],
)
def test_names_that_do_not_exist_are_refused_before_anything_is_trained(
    tmp_path, old, new, words
) -> None:
    (tmp_path / "tiny.toml").write_text(SUITE.replace(old, new))
    with pytest.raises(SuiteError, match=re.escape(words)):
        training.run(load(str(tmp_path / "tiny.toml")), tmp_path / "run", facts=FACTS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("table.csv", "suite.toml", "environment.json"), "holds a run of `mssbench run`"),
        (("journal.jsonl",), "holds a run of `mssbench run`"),
        (("environment.json",), "contains other files ('environment.json') and no run"),
        (("thesis.tex", "a.pdf"), "contains other files ('a.pdf' and 1 more) and no run"),
        (("suite.toml", "cells/notes.txt"), "contains other files ('cells/notes.txt') and no run"),
        (("cells",), "contains other files ('cells/cells') and no run"),
    ],
)
def test_a_folder_of_something_else_is_refused_and_left_as_it_is(
    suite, tmp_path, names, words, fresh
) -> None:
    folder = tmp_path / "run"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    with pytest.raises(RunError, match=re.escape(words)):
        training.run(suite, folder, facts=FACTS, fresh=fresh)
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert files == set(names)
    assert all((folder / name).read_text() == "mine" for name in names)


def test_covariances_are_written_if_asked_and_deleted_when_all_is_trained_again(
    suite, tmp_path, monkeypatch
) -> None:
    _stand_in(
        tmp_path,
        monkeypatch,
        "if 'captured' in asked: open(asked['captured'] + '/' + 'a' * 16 + '-1.npz', 'w')\n",
    )
    folder = tmp_path / "run"
    training.run(suite, folder, facts=FACTS)
    assert not (folder / "captured").exists()

    training.run(suite, folder, facts=FACTS, fresh=True, capture=True)
    (folder / "captured" / "mine.npz").write_text("mine")
    assert len(list((folder / "captured").iterdir())) == 2
    training.run(suite, folder, facts=FACTS, fresh=True)
    assert [file.name for file in (folder / "captured").iterdir()] == ["mine.npz"]


def test_a_file_in_the_place_of_the_folder_is_refused(suite, tmp_path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(RunError, match="cannot be made a folder"):
        training.run(suite, tmp_path / "run", facts=FACTS)


def test_a_process_that_dies_is_a_row_and_the_others_go_on(suite, tmp_path, monkeypatch) -> None:
    _stand_in(
        tmp_path,
        monkeypatch,
        "if asked['cell']['forward'] == 'eigh':\n"
        "    print('about to die', file=sys.stderr, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n",
    )
    rows = training.run(suite, tmp_path / "run", facts=FACTS)
    by_forward = {row["forward"]: row for row in rows}
    assert by_forward["covariance"]["status"] == "ok"
    assert by_forward["eigh"]["status"] == Status.CRASHED
    assert by_forward["eigh"]["reason"] == "its process ended twice by signal 11. about to die"


def test_a_process_that_is_killed_and_then_fails_is_described_so(
    suite, tmp_path, monkeypatch
) -> None:
    _stand_in(
        tmp_path,
        monkeypatch,
        "if os.path.exists(asked['checkpoint']): sys.exit(3)\n"
        "open(asked['checkpoint'], 'w').close()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    rows = training.run(suite, tmp_path / "run", facts=FACTS)
    assert {row["reason"] for row in rows} == {
        "its process ended by signal 9 and then by exit code 3"
    }
    assert not list((tmp_path / "run" / "cells").glob("*.pt"))


def test_a_process_that_is_killed_after_its_result_has_one(suite, tmp_path, monkeypatch) -> None:
    """A library may crash while Python ends."""
    keep = "open(asked['checkpoint'], 'w').close()\n"
    _stand_in(tmp_path, monkeypatch, keep, after="os.kill(os.getpid(), signal.SIGSEGV)\n")
    rows = training.run(suite, tmp_path / "run", facts=FACTS)
    assert {row["status"] for row in rows} == {"ok"}
    assert not list((tmp_path / "run" / "cells").glob("*.pt")), "its state is needed no more"


def test_other_output_of_a_process_is_passed_over(suite, tmp_path, monkeypatch) -> None:
    _stand_in(tmp_path, monkeypatch, "os.write(1, b'\\xff\\n[1]\\n')\n")
    messages: list = []
    rows = training.run(
        suite, tmp_path / "run", facts=FACTS, watch=lambda _, message: messages.append(message)
    )
    assert {row["status"] for row in rows} == {"ok"}
    assert sum("status" not in message for message in messages) == 4, "each epoch is told once"


def test_a_process_that_does_not_read_its_task_is_a_row(suite, tmp_path, monkeypatch) -> None:
    _stand_in(tmp_path, monkeypatch, "")
    (tmp_path / "python").write_text("#!/bin/sh\nkill -9 $$\n")
    # More than a pipe holds, so that the write lasts until the process has ended.
    workers = training_workers.Workers(tmp_path, {"more": "a" * 2**20}, lambda *_: None)
    results = [result for _, result in workers.trained(suite.cells, 2, lambda: False)]
    assert [result["reason"] for result in results] == ["its process ended twice by signal 9"] * 4


@pytest.mark.parametrize("where", ["the caller", "the watcher"])
def test_after_an_error_nothing_more_is_trained(suite, tmp_path, monkeypatch, where) -> None:
    """A full disk must not let the trainings go on for hours, without their results."""
    script = "open(asked['checkpoint'] + '.begun', 'w').close()\n"
    wait = "import time; time.sleep(60 * (asked['cell']['forward'] == 'eigh'))\n"
    _stand_in(tmp_path, monkeypatch, script + wait)
    (tmp_path / "cells").mkdir()

    def watch(*_: object) -> None:
        if where == "the watcher":
            raise OSError("full")

    workers = training_workers.Workers(tmp_path, {}, watch)
    begun = time.monotonic()

    def at_the_first_result() -> None:
        for _ in workers.trained(suite.cells, 1, lambda: False):
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        at_the_first_result()
    assert time.monotonic() - begun < 30, "the process that sleeps was ended"
    assert len(list((tmp_path / "cells").glob("*.begun"))) <= 2


def test_a_run_that_is_stopped_ends_its_processes_and_begins_no_others(
    suite, tmp_path, monkeypatch
) -> None:
    _stand_in(
        tmp_path,
        monkeypatch,
        "open(asked['checkpoint'], 'w').close()\nimport time; time.sleep(60)\n",
    )
    (tmp_path / "cells").mkdir()
    started = []

    class Counted(training_workers.Workers):
        def _once(self, cell):
            started.append(cell)
            return super()._once(cell)

    workers = Counted(tmp_path, {}, lambda *_: None)
    begun = time.monotonic()
    results = [
        result
        for _, result in workers.trained(
            suite.cells, 1, lambda: bool(list((tmp_path / "cells").glob("*.pt")))
        )
    ]
    assert time.monotonic() - begun < 30
    assert sorted(result["reason"] for result in results) == [
        *["the run was stopped before it"] * 3,
        "the run was stopped during it",
    ]
    assert len(started) == 1, "what was stopped is not started again"


def test_a_process_that_is_killed_once_goes_on_from_its_state(suite, tmp_path, monkeypatch) -> None:
    _stand_in(
        tmp_path,
        monkeypatch,
        "if not os.path.exists(asked['checkpoint']):\n"
        "    open(asked['checkpoint'], 'w').close()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n",
    )
    rows = training.run(suite, tmp_path / "run", facts=FACTS)
    assert [row["status"] for row in rows] == ["ok"] * 4
    assert not list((tmp_path / "run" / "cells").glob("*.pt"))


@pytest.mark.parametrize(
    ("end", "kept", "starts"),
    [("os.kill(os.getpid(), signal.SIGKILL)", 1, 2), ("sys.exit(3)", 0, 1)],
)
def test_the_state_of_a_killed_process_is_kept_and_a_damaged_one_is_not(
    suite, tmp_path, monkeypatch, end, kept, starts
) -> None:
    """A process that fails by itself may have failed at its state, and would do so again."""
    log = tmp_path / "starts"
    begin = f"open({str(log)!r}, 'a').write('x')\nopen(asked['checkpoint'], 'w').close()\n"
    _stand_in(tmp_path, monkeypatch, f"{begin}{end}\n")
    rows = training.run(suite, tmp_path / "run", facts=FACTS)
    assert {row["status"] for row in rows} == {"crashed"}
    assert len(log.read_text()) == starts * len(suite.cells)
    assert len(list((tmp_path / "run" / "cells").glob("*.pt"))) == kept * len(suite.cells)


@pytest.mark.parametrize(
    ("status", "again"),
    [("ok", 0), ("nonfinite", 0), ("crashed", 1), ("unsupported", 1), ("not_installed", 1)],
)
@pytest.mark.usefixtures("at_once")
def test_only_what_was_trained_to_the_end_is_not_tried_again(
    suite, tmp_path, status, again
) -> None:
    cells = tmp_path / "run" / "cells"
    cells.mkdir(parents=True)
    for number, cell in enumerate(suite.cells):
        epochs = [asdict(Epoch(i)) for i in (1, 2)]
        result = {"status": "ok" if number else status, "epochs": epochs}
        result |= {"robustness": [], "initial": "w"}
        (cells / f"{cell.cell_id}.json").write_text(json.dumps(result))
    (tmp_path / "run" / "suite.toml").write_text(tomli_w.dumps(dict(suite.document)))

    messages: list = []
    rows = training.run(
        suite, tmp_path / "run", facts=FACTS, watch=lambda _, message: messages.append(message)
    )
    assert sum("status" in message for message in messages) == again
    assert rows[0]["status"] == ("ok" if again else status)


def test_a_process_that_writes_much_to_stderr_is_not_blocked(tmp_path, monkeypatch) -> None:
    (tmp_path / "tiny.toml").write_text(SUITE.replace("seed = [0, 1]", "seed = 0"))
    # The alarm ends a process that waits for a reader of its stderr, so that the test ends too.
    noise = "signal.alarm(5)\nsys.stderr.write('é' * 2**20)\n"
    _stand_in(tmp_path, monkeypatch, noise)
    rows = training.run(load(str(tmp_path / "tiny.toml")), tmp_path / "run", facts=FACTS)
    assert [row["status"] for row in rows] == ["ok", "ok"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive), signal.SIGKILL]
)
def test_a_run_that_was_stopped_or_killed_is_resumed_with_the_same_numbers(tmp_path, how) -> None:
    text = SUITE.replace("epochs = 2", "epochs = 40").replace("seed = [0, 1]", "seed = 0")
    (tmp_path / "tiny.toml").write_text(text.partition('[[method]]\nforward = "eigh"')[0])
    command = [sys.executable, "-m", "mssbench", "train", "tiny.toml", "--out"]
    subprocess.run([*command, "whole"], cwd=tmp_path, check=True, capture_output=True)

    with subprocess.Popen(
        [*command, "cut"],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=heed_signals,
    ) as process:
        # The state is there after the first of the 40 epochs.
        while not list((tmp_path / "cut" / "cells").glob("*.pt")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(how)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    (state,) = (tmp_path / "cut" / "cells").glob("*.pt")
    before = torch.load(state, weights_only=True)["curve"]["epochs"]

    deadline = time.monotonic() + 30
    while not _is_free(tmp_path / "cut"):  # a killed run leaves a training that ends by itself
        assert time.monotonic() < deadline, "a process of the killed run is left"
        time.sleep(0.1)
    subprocess.run([*command, "cut"], cwd=tmp_path, check=True, capture_output=True)
    seconds = tables(tmp_path / "cut")[1]["seconds"].tolist()
    assert 0 < len(before) < 40
    # No two epochs take the same time to the last digit.
    assert seconds[: len(before)] == [epoch["seconds"] for epoch in before], "it began again"

    whole, cut = (tables(tmp_path / name) for name in ("whole", "cut"))
    for one, other in zip(whole, cut, strict=True):
        kept = [c for c in one.columns if c not in TIMES]
        pd.testing.assert_frame_equal(one[kept], other[kept])


def _is_free(folder: Path) -> bool:
    """Whether no process trains for a folder any more."""
    found = subprocess.run(
        ["pgrep", "-f", "mssbench.training.one"], capture_output=True, text=True
    ).stdout.split()
    states = {str(path.resolve()) for path in (folder / "cells").glob("*")}
    return not any(_opens(pid, states) for pid in found)


def _opens(pid: str, files: set[str]) -> bool:
    try:
        return any(str(fd.readlink()) in files for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


@pytest.mark.usefixtures("at_once")
def test_facts_and_suite_are_kept_with_the_tables(suite, tmp_path) -> None:
    folder = tmp_path / "run"
    training.run(suite, folder, facts=FACTS, at_once=2)
    facts = json.loads((folder / "environment.json").read_text())
    (environment,) = facts["environments"]
    assert set(tables(folder)[0]["environment"]) == {environment}
    assert "smallcov" in (folder / "suite.toml").read_text()


def test_the_column_of_the_status_names_all_that_occur() -> None:
    root = Path(training.__file__).parents[1]
    names = ("run/training_folder.py", "run/training_workers.py", "training/one.py")
    texts = [(root / name).read_text() for name in names]
    occurring = {str(Status[name]) for name in re.findall(r"Status\.([A-Z_]+)", " ".join(texts))}
    (column,) = (column for column in TRAININGS if column.name == "status")
    assert set(re.split(r", | or ", column.meaning)) == occurring


def test_a_result_must_have_all_that_a_process_reports_of_an_epoch() -> None:
    reported = {f.name for f in fields(Epoch)} - {"first_skipped", "probes"}
    assert set(training_folder.OF_EPOCH) == reported
