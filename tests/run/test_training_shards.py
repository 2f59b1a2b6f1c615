"""Shards of trainings: trained apart, joined into the tables that one run would have."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.altered_runs import QUICK
from helpers.planted_trainings import BROKEN, result
from helpers.tables import called

from mssbench.errors import RunError
from mssbench.records.training import TrainingCell
from mssbench.report.trainings.reading import Shown, read
from mssbench.report.trainings.sentences import cautions
from mssbench.results import files
from mssbench.results.facts_file import read_facts
from mssbench.results.parts import PART, part_of
from mssbench.run import training, training_workers
from mssbench.run.training_folder import TABLES
from mssbench.suite import shards
from mssbench.suite.training import TrainingSuite, load

SUITE = """
name = "tiny"
[training]
task = "tex12"
seed = [0, 1]
learning_rate = [0.05, 0.1]
epochs = 4
robustness = true
probes = true
[[method]]
forward = "mean"
[[method]]
forward = "eigh"
backward = "loewner"
[[method]]
forward = "svd"
backward = "autodiff"
[[claim]]
claim = "Mean pooling is worse."
source = "this test"
left = "forward == 'mean'"
relation = "<"
right = "forward == 'eigh'"
"""
FACTS = {"cpu": "Alpha", "versions": {}}
Train = Callable[..., list[dict[str, Any]]]


def suite_of(text: str = SUITE, shard: str = "") -> TrainingSuite:
    Path("tiny.toml").write_text(text)
    suite = load("tiny.toml")
    return suite.sharded(shards.parse(shard)) if shard else suite


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Train:
    """Train a shard, or all, into a folder. The results are planted, so that it takes no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "_check_suite", lambda _: None)
    # Each of the many small files would wait for the disk.
    monkeypatch.setattr(files.os, "fsync", lambda _: None)

    def run(
        folder: str, shard: str = "", text: str = SUITE, stop: int = 1000, **options: Any
    ) -> list[dict[str, Any]]:
        """stop: after how many trainings the run is stopped."""

        def trained(
            self: Any, cells: Sequence[TrainingCell], *_: Any
        ) -> Iterator[tuple[TrainingCell, dict[str, Any]]]:
            for number, cell in enumerate(cells):
                if number < stop:
                    yield cell, result(cell) | {"killed": False}
                    continue
                if number == stop:
                    (Path(folder) / "cells" / f"{cell.cell_id}.pt").write_bytes(b"state")
                yield cell, {"status": "interrupted", "reason": "stopped", "killed": False}

        with monkeypatch.context() as patch:
            patch.setattr(training_workers.Workers, "trained", trained)
            options = {"facts": FACTS, **options}
            return training.run(suite_of(text, shard), Path(folder), **options)

    return run


def joined(capsys: Any, *arguments: str, out: str = "all") -> tuple[int, str]:
    code, said, err = called(capsys, "merge", *arguments, "--out", out)
    return code, " ".join((said + err).split())


def tables(folder: str) -> dict[str, bytes]:
    return {name: (Path(folder) / name).read_bytes() for name in TABLES}


def held(folder: str, pattern: str = "cells/*") -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).glob(pattern)}


@pytest.mark.parametrize("count", [2, 3, 7])
def test_joined_shards_have_the_tables_of_one_run(train, capsys, count) -> None:
    """In 7 shards, mean pooling is not always in the same as what is compared with it."""
    train("whole")
    for i in range(1, count + 1):
        rows = train(f"s{i}", f"{i}/{count}")
        assert 0 < len(rows) < 12
    order = [f"s{i}" for i in range(count, 0, -1)]

    assert joined(capsys, *order) == (0, "12 of 12 trainings in all")
    assert tables("all") == tables("whole")
    assert held("all") == held("whole")
    assert held("all", "suite.toml") == held("whole", "suite.toml")
    assert read_facts(Path("all")) == read_facts(Path("whole"))
    reached = pd.read_csv("all/trainings.csv")["epochs_to_first_order"]
    assert reached.notna().sum() >= 4

    begun: list[tuple[int, int]] = []
    train("all", begin=lambda *n: begun.append(n))
    assert begun == [(0, 12)]
    assert tables("all") == tables("whole")


def test_a_missing_shard_is_named_and_its_trainings_can_be_trained_into_the_joined_folder(
    train, capsys
) -> None:
    train("whole")
    for i in (1, 3):
        train(f"s{i}", f"{i}/3")
    code, said = joined(capsys, "s1", "s3")
    assert code == 4
    assert (
        "8 of 12 trainings in all shard 2/3 is not complete: 4 trainings without a result" in said
    )
    missing = suite_of(shard="2/3").cells
    assert f"tex12 seed {missing[0].seed} rate {missing[0].learning_rate}" in said
    assert (
        "Train what is missing with `mssbench train`, the same suite and this folder as --out."
        in said
    )

    # As of one run that was stopped.
    rows = pd.read_csv("all/trainings.csv")
    assert rows["cell_id"].tolist() == pd.read_csv("whole/trainings.csv")["cell_id"].tolist()
    lacking = rows[rows["status"] == "interrupted"]
    assert set(lacking["cell_id"]) == {cell.cell_id for cell in missing}
    assert PART not in read_facts(Path("all"))
    sentence = "4 of 12 trainings are missing: the run was stopped, or joined from parts."
    assert sentence in " ".join(called(capsys, "claims", "all")[1].split())
    said_by_report = [*cautions(Shown({"all": read(Path("all"))}, []))]
    assert any("with the same suite and folder resumes them" in each for each in said_by_report)

    begun: list[tuple[int, int]] = []
    train("all", begin=lambda *n: begun.append(n))
    assert begun == [(4, 8)]
    assert tables("all") == tables("whole")


def test_what_was_joined_can_be_joined_with_the_shard_that_comes_later(train, capsys) -> None:
    train("whole")
    for i in (1, 2, 3):
        train(f"s{i}", f"{i}/3")
    assert joined(capsys, "s1", "s3")[0] == 4
    assert joined(capsys, "all", "s2", out="complete")[0] == 0
    assert tables("complete") == tables("whole")


def test_missing_trainings_are_told_as_json(train, capsys) -> None:
    train("s1", "1/2")
    found = json.loads(called(capsys, "merge", "s1", "--out", "all", "--json")[1])
    assert found["counts"] == {"rows": 12, "cells": 12, "runs": 1}
    (shard,) = found["missing"]
    assert shard["shard"] == "2/2"
    assert len(shard["cells"]) == len(shard["cell_ids"]) == 6

    train("stopped", stop=10)
    code, said = joined(capsys, "stopped", out="again")
    assert code == 4
    assert "the run is not complete: 2 trainings without a result" in said


def test_the_result_that_was_trained_to_its_end_is_taken(train, capsys) -> None:
    """And otherwise the first result that there is."""
    train("whole")
    suite = suite_of()
    first, second, third, fourth = (f"cells/{cell.cell_id}.json" for cell in suite.cells[:4])
    for folder, name, reason in (
        ("one", first, "a"),
        ("one", second, "b"),
        ("two", second, "c"),
        ("two", fourth, "d"),
    ):
        train(folder, stop=0) if not Path(folder).exists() else None
        text = json.dumps({"status": "crashed", "reason": reason, "environment": "e"})
        (Path(folder) / name).write_text(text)
    for name in (first, third):
        (Path("two") / name).write_bytes((Path("whole") / name).read_bytes())
    (Path("one") / third).write_text('{"status": "ok"')  # damaged

    code, said = joined(capsys, "one", "two")
    assert code == 4
    assert "8 trainings without a result" in said
    rows = pd.read_csv("all/trainings.csv")
    # svd fails in planted trainings, and was trained to its end all the same
    ended = "nonfinite" if suite.cells[0].forward == BROKEN[0] else "ok"
    assert rows["status"].tolist()[:2] == [ended, "crashed"]
    assert (rows["reason"][1], rows["reason"][3]) == ("b", "d")
    assert held("all")[Path(third).name] == (Path("whole") / third).read_bytes()


def test_states_are_taken_of_trainings_that_have_not_ended(train, capsys) -> None:
    train("s1", "1/2", stop=2)
    train("s2", "2/2")
    states = held("s1", "cells/*.pt")
    assert len(states) == 1
    for name in TABLES:  # as if the run had been killed
        Path("s1", name).unlink()
    ended = next(Path("s2/cells").glob("*.json")).stem
    Path(f"s1/cells/{ended}.pt").write_bytes(b"an older state")
    Path(f"s1/cells/.{ended}.pt.123").write_bytes(b"left behind by a process that was killed")

    code, said = joined(capsys, "s1", "s2")
    assert code == 4
    assert "shard 1/2 is not complete: 4 trainings without a result" in said
    assert held("all", "cells/*.pt") == states
    assert not held("all", "cells/.*")


def test_covariances_come_from_the_run_whose_result_is_taken(train, capsys) -> None:
    train("s1", "1/2", stop=0)
    train("s2", "1/2")
    for folder in ("s1", "s2"):
        Path(folder, "captured").mkdir()
        for cell in suite_of(shard="1/2").cells[:2]:
            Path(folder, "captured", f"{cell.cell_id}-0.npz").write_text(folder)
        Path(folder, "captured", f"{cell.cell_id}-notes.txt").write_text("mine")
    joined(capsys, "s1", "s2")
    assert list(held("all", "captured/*").values()) == [b"s2", b"s2"]


OTHER = SUITE.replace("seed = [0, 1]", "seed = [0, 1, 2]")


@pytest.mark.parametrize(
    ("one", "two", "words"),
    [
        (("1/2", SUITE), ("2/2", OTHER), "one has 'tiny', with 12 trainings, and two has 'tiny', "
         "with 18 trainings: their suites, or probes and robustness in them, are not the same."),
        (("1/2", SUITE), ("2/2", SUITE.replace("probes = true", "")), "are not the same."),
        (("", SUITE), ("2/2", OTHER), "are not the same."),
        (("1/2", SUITE), ("2/3", SUITE), "do not belong to the same run"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_not_joined(train, capsys, one, two, words) -> None:
    train("one", *one)
    train("two", *two)
    code, said = joined(capsys, "one", "two")
    assert code == 2
    assert words in said
    assert not Path("all").exists()


def test_other_claims_are_no_other_suite(train, capsys) -> None:
    train("s1", "1/2")
    train("s2", "2/2", SUITE.replace("worse", "no better"))
    assert joined(capsys, "s1", "s2")[0] == 0
    assert held("all", "suite.toml") == held("s1", "suite.toml")


def test_a_shard_whose_suite_was_changed_by_hand_is_not_joined(train, capsys) -> None:
    train("s1", "1/2")
    suite = Path("s1/suite.toml")
    suite.write_text(suite.read_text().replace("epochs = 4", "epochs = 5"))
    code, said = joined(capsys, "s1")
    assert code == 2
    assert "s1/suite.toml is not the suite of which s1 has shard 1 of 2" in said
    assert not Path("all").exists()


@pytest.mark.parametrize("order", [("s1", QUICK), (QUICK, "s1")])
def test_trainings_and_other_runs_are_not_joined(train, capsys, order) -> None:
    train("s1", "1/2")
    code, said = joined(capsys, *map(str, order))
    assert code == 2
    assert f"s1 holds trainings of `mssbench train`, and {QUICK} does not" in said
    assert not Path("all").exists()


def test_a_folder_that_is_used_is_refused_and_so_is_a_run_without_results(train, capsys) -> None:
    train("s1", "1/2")
    before = held("s1", "**/*.*")
    Path("used").mkdir()
    Path("used/thesis.tex").write_text("mine")
    for out, words in (
        ("s1", "s1 holds trainings of `mssbench train`"),
        ("used", "used is not an empty folder"),
        ("s1/trainings.csv", "s1/trainings.csv holds trainings"),
    ):
        code, said = joined(capsys, "s1", out=out)
        assert (code, words in said) == (2, True), said
    assert [*held("used", "*")] == ["thesis.tex"]
    code, _, err = called(capsys, "merge", "s1", "s1")
    assert (code, "to join trainings, name the folder of the result" in err) == (2, True)
    assert held("s1", "**/*.*") == before

    Path("s1/cells").rename("cells")
    code, said = joined(capsys, "s1")
    assert code == 2
    assert "s1 has no results in cells/" in said


def test_trainings_of_two_machines_are_joined_as_train_itself_does(train, capsys) -> None:
    train("s1", "1/2")
    train("s2", "2/2", facts=FACTS | {"cpu": "Beta"})
    code, said = joined(capsys, "s1", "s2")
    assert code == 0
    assert (
        "These trainings are of 2 environments (cpu: Alpha then, Beta now): their times cannot be "
        "compared."
    ) in said
    known = read_facts(Path("all"))["environments"]
    assert {facts["cpu"] for facts in known.values()} == {"Alpha", "Beta"}
    assert set(pd.read_csv("all/trainings.csv")["environment"]) == {*known}
    said_by_report = [*cautions(Shown({"all": read(Path("all"))}, []))]
    assert any("These rows are of several environments" in each for each in said_by_report)


def test_a_damaged_file_of_facts_is_left_out_and_named(train, capsys) -> None:
    train("s1", "1/2")
    train("s2", "2/2")
    Path("s2/environment.json").write_text("{")
    code, said = joined(capsys, "s1", "s2")
    assert code == 0
    assert "left out: s2/environment.json is damaged" in said


@pytest.mark.parametrize(
    ("first", "second"), [("1/3", "2/3"), ("1/3", "1/2"), ("", "1/3"), ("1/3", "")]
)
def test_a_folder_is_of_one_shard(train, first, second) -> None:
    train("out", first)
    before = held("out", "**/*.*")
    with pytest.raises(RunError, match=r"folder of its own: choose another --out") as refused:
        train("out", second)
    names = {
        "": "all trainings",
        "1/3": "shard 1 of 3",
        "2/3": "shard 2 of 3",
        "1/2": "shard 1 of 2",
    }
    assert all(names[each] in str(refused.value) for each in (first, second))
    assert held("out", "**/*.*") == before

    train("out", second, fresh=True)
    part = part_of(read_facts(Path("out")))
    assert (part.name if part else "all trainings") == names[second]


def test_a_folder_in_which_nothing_was_trained_yet_takes_any_shard(train) -> None:
    """A run that is killed at its start may have written its suite, and not yet its shard."""
    train("out", "1/3")
    for file in Path("out/cells").iterdir():
        file.unlink()
    train("out", "2/3")
    part = part_of(read_facts(Path("out")))
    assert part is not None
    assert part.name == "shard 2 of 3"


def test_a_shard_is_resumed_and_knows_an_edited_suite(train) -> None:
    train("s1", "1/2", stop=3)
    part = part_of(read_facts(Path("s1")))
    assert part is not None
    assert (part.cells, part.noun, part.digest) == (12, "training", suite_of().digest)
    begun: list[tuple[int, int]] = []
    train("s1", "1/2", begin=lambda *n: begun.append(n))
    train("s1", "1/2", facts=FACTS | {"cpu": "Beta"}, begin=lambda *n: begun.append(n))
    assert begun == [(3, 3), (0, 6)]
    assert len(read_facts(Path("s1"))["environments"]) == 1, "nothing was trained on the other"

    train("s1", "1/2", OTHER)
    part = part_of(read_facts(Path("s1")))
    assert part is not None
    assert (part.cells, part.digest) == (18, suite_of(OTHER).digest)


def test_every_reader_says_that_a_shard_is_a_part(train, capsys, monkeypatch) -> None:
    train("s1", "1/2")
    sentence = (
        "This run is only a part of its suite: shard 1 of 2, 6 of 12 trainings. `mssbench merge` "
        "joins the shards."
    )
    assert sentence in cautions(Shown({"s1": read(Path("s1"))}, []))
    assert sentence in " ".join(called(capsys, "claims", "s1")[1].split())
    rows = Path("s1/trainings.csv").read_text().splitlines(keepends=True)
    Path("s1/trainings.csv").write_text("".join(rows[:-1]))
    code, _, err = called(capsys, "claims", "s1")
    assert code == 2
    assert "lacks 1 of the 6 trainings of its run" in " ".join(err.split())


def test_the_command_trains_a_shard_into_a_folder_of_its_own(train, capsys, monkeypatch) -> None:
    suite_of()
    monkeypatch.setattr("mssbench.machine.facts.describe", lambda: FACTS)
    monkeypatch.setattr(
        training_workers.Workers,
        "trained",
        lambda _self, cells, *_: ((cell, result(cell) | {"killed": False}) for cell in cells),
    )
    code, said, _ = called(capsys, "train", "tiny.toml", "--shard", "2/3")
    assert code == 0
    assert "only a part of its suite: shard 2 of 3, 4 of 12 trainings" in " ".join(said.split())
    assert len(pd.read_csv("results/tiny-shard-2-of-3/trainings.csv")) == 4


@pytest.mark.parametrize("shard", ["0/3", "third", "1/13"])
def test_the_command_refuses_what_is_no_shard(train, capsys, shard) -> None:
    suite_of()
    code, _, err = called(capsys, "train", "tiny.toml", "--shard", shard)
    assert code == 2
    assert "--shard" in err
    assert not Path("results").exists()


@pytest.mark.exhaustive
def test_shards_that_are_really_trained_have_the_numbers_of_one_run(
    tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    text = """
name = "tiny"
[training]
task = "smallcov"
seed = [0, 1]
epochs = 2
[[method]]
forward = "eigh"
backward = "loewner"
"""
    for folder, shard in (("whole", ""), ("s1", "1/2"), ("s2", "2/2")):
        training.run(suite_of(text, shard), Path(folder), facts=FACTS)
    assert joined(capsys, "s1", "s2")[0] == 0
    for name in TABLES:
        of_parts, of_one = (pd.read_csv(Path(folder) / name) for folder in ("all", "whole"))
        numbers = [c for c in of_one.columns if c not in ("seconds", "root_seconds")]
        pd.testing.assert_frame_equal(of_parts[numbers], of_one[numbers], check_exact=True)
