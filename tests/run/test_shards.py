"""Shards of a run: measured apart, joined into the table that one run would have."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import (
    climate,
    due_samples,
    key,
    load,
    orphans,
    sample_counts,
    stand_in,
    table,
    write_suite,
)
from helpers.tables import called

from mssbench import results
from mssbench.errors import RunError
from mssbench.records.summary import Summary
from mssbench.report import findings
from mssbench.results.facts_file import LEFT_OVER
from mssbench.results.parts import PART, part_of
from mssbench.results.rows import ENVIRONMENT, JOURNAL, SUITE
from mssbench.run import recorder
from mssbench.run.resume import plan
from mssbench.run.run import run
from mssbench.suite import shards

METHODS = "forward = ['numpy/eigh', 'numpy/svd', 'numpy/taylor']"  # times four seeds: 12 cells
CLAIM = """
[[claim]]
claim = "It is accurate."
source = "nobody, 2020"
value = "root_error"
left = "forward == 'eigh'"
relation = "<"
right = 1.0
"""


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Locks of this test alone; and no process of it is left in the end."""
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path / "locks"))
    monkeypatch.chdir(tmp_path)
    yield
    assert orphans(tmp_path / "locks") == []


def measured(folder: Path, shard: str, methods: str = METHODS, **options: Any) -> Summary:
    """Measure a shard into a folder, or all cells if `shard` is empty."""
    here = folder.parent
    suite = load(write_suite(here, methods, seeds=4))
    if shard:
        suite = suite.sharded(shards.parse(shard))
    return run(suite, folder, python=stand_in(here), **options)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with finished runs, by the names of their shards: `1-2`, and `whole`."""
    here = tmp_path_factory.mktemp("stored")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MSSBENCH_LOCKS", str(here / "locks"))
        for shard in ("1/2", "2/2", "1/3", "2/3", "3/3"):
            measured(here / shard.replace("/", "-"), shard)
        measured(here / "whole", "")
    return here


@pytest.fixture
def take(stored: Path, tmp_path: Path) -> Any:
    """A function that copies a finished run into a folder of this test: `take("s1", "1/2")`."""
    write_suite(tmp_path, METHODS, seeds=4)

    def copied(folder: str, shard: str = "") -> None:
        shutil.copytree(stored / (shard.replace("/", "-") or "whole"), folder)

    return copied


@pytest.fixture
def measure(tmp_path: Path) -> Any:
    """A function that measures a shard, or all cells, into a folder of this test."""
    return lambda folder, shard="", **options: measured(tmp_path / folder, shard, **options)


def joined(capsys: Any, *runs: str, out: str = "all") -> tuple[int, str]:
    code, said, err = called(capsys, "merge", *runs, "--out", out)
    return code, " ".join((said + err).split())


def test_joined_shards_have_the_table_of_one_run(take, capsys):
    for i in (3, 1, 2):
        take(f"s{i}", f"{i}/3")
        assert results.open(Path(f"s{i}")).facts[LEFT_OVER] == []
        assert len(table(Path(f"s{i}"))) == 4
    take("whole")

    assert joined(capsys, "s2", "s3", "s1")[0] == 0
    assert climate(table(Path("all"))) == climate(table(Path("whole")))
    assert [*map(key, table(Path("all")))] == [*map(key, table(Path("whole")))]
    assert sample_counts(Path("all")) == due_samples(table(Path("all")))
    found = results.open(Path("all"))
    assert PART not in found.facts
    assert found.left_over == set()
    assert len(found.facts["runs"]) == 3
    assert {facts["shard"] for facts in found.facts["runs"].values()} == {"1/3", "2/3", "3/3"}
    code, said, _ = called(capsys, "check", "all", "--baseline", "whole")
    assert code == 0
    assert "part of its suite" not in said


def test_columns_that_depend_on_all_rows_are_computed_from_all_shards(take, capsys, monkeypatch):
    seen = []
    complete = recorder.finish

    def finish(rows, *others):
        seen.append(len(rows))
        return complete(rows, *others)

    take("s1", "1/2")
    take("s2", "2/2")
    monkeypatch.setattr("mssbench.cli.merge.finish", finish)
    assert joined(capsys, "s1", "s2")[0] == 0
    assert seen == [12]


def test_a_missing_shard_is_named_with_its_cells(take, capsys):
    take("s1", "1/3")
    take("s3", "3/3")
    code, said = joined(capsys, "s1", "s3")
    assert code == 4
    assert "shard 2/3 is not complete: 4 cells without a result" in said
    missing = load(Path("tiny.toml")).sharded(shards.parse("2/3")).cells
    assert all(str(cell) in said for cell in missing)

    part = part_of(results.open(Path("all")).facts)
    assert part is not None
    assert [*part.shards] == [1, 3]
    assert "2 shards of 3, 8 of 12 cells" in " ".join(called(capsys, "show", "all")[1].split())

    # What was joined can be joined with the shard that comes later.
    take("s2", "2/3")
    code, said = joined(capsys, "all", "s2", out="complete")
    assert code == 0
    assert len(table(Path("complete"))) == 12
    assert PART not in results.open(Path("complete")).facts


def test_the_missing_cells_are_told_as_json(take, capsys):
    take("s1", "1/2")
    found = json.loads(called(capsys, "merge", "s1", "--out", "all", "--json")[1])
    assert [shard["shard"] for shard in found["missing"]] == ["2/2"]
    assert len(found["missing"][0]["cells"]) == len(found["missing"][0]["cell_ids"]) == 6


def test_a_missing_shard_of_an_unknown_method_is_named_without_its_cells(take, capsys, monkeypatch):
    take("s1", "1/2")
    text = Path("s1/suite.toml").read_text("utf-8")
    Path("s1/suite.toml").write_text(text.replace("numpy/taylor", "numpy/of_a_plug_in"), "utf-8")
    code, said = joined(capsys, "s1")
    assert code == 4
    assert "shard 2/2 is not complete: its cells cannot be named here" in said


def test_a_shard_that_was_stopped_is_named_and_resumed(take, measure, capsys):
    take("s1", "1/2")
    measure("s2", "2/2", seconds=0.0)  # the time is over before its first cell
    code, said = joined(capsys, "s1", "s2")
    assert code == 4
    assert "shard 2/2 is not complete: 6 cells without a result" in said
    assert "6 of 12 cells" in " ".join(called(capsys, "show", "all")[1].split())

    measure("s2", "2/2")
    assert joined(capsys, "s1", "s2", out="again")[0] == 0
    assert {row["status"] for row in table(Path("again"))} == {"ok"}


def test_a_killed_shard_knows_what_it_is_and_is_resumed(take, measure, capsys, monkeypatch):
    class Killed(BaseException):
        pass

    count = iter(range(100))
    append = recorder.RunFolder.append

    def killed(*arguments):
        if next(count) == 2:
            raise Killed
        append(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(recorder.RunFolder, "append", killed)
        patch.setattr(recorder.Recorder, "close", lambda *_: None)
        with pytest.raises(Killed):
            measure("s1", "1/2")
    assert (Path("s1") / JOURNAL).exists()
    take("s2", "2/2")

    code, said = joined(capsys, "s1", "s2")
    assert code == 4
    assert "shard 1/2 is not complete: 4 cells without a result" in said

    summary = measure("s1", "1/2")
    assert (summary.kept, summary.cells) == (2, 6)
    assert joined(capsys, "s1", "s2", out="again")[0] == 0
    assert len(table(Path("again"))) == 12


def test_a_shard_is_resumed_and_its_plan_is_its_own_cells(take, measure, tmp_path):
    suite = load(write_suite(tmp_path, METHODS, seeds=4)).sharded(shards.parse("1/3"))
    assert plan(suite, Path("s1")) == [*suite.cells]
    take("s1", "1/3")
    before = table(Path("s1"))
    assert measure("s1", "1/3").kept == 4
    assert table(Path("s1")) == before
    assert results.open(Path("s1")).facts[LEFT_OVER] == []


@pytest.mark.parametrize(
    ("first", "second"), [("1/3", "2/3"), ("1/3", "1/2"), ("", "1/3"), ("1/3", "")]
)
def test_a_folder_is_of_one_shard(take, measure, first, second):
    take("out", first)
    before = {p.name: p.read_bytes() for p in Path("out").iterdir()}
    with pytest.raises(RunError, match=r"folder of its own: choose another --out"):
        measure("out", second)
    assert {p.name: p.read_bytes() for p in Path("out").iterdir()} == before
    assert measure("out", second, fresh=True).complete
    part = part_of(results.open(Path("out")).facts)
    assert (str(part.name) if part else "") == (
        f"shard {second[0]} of {second[2]}" if second else ""
    )


def test_a_run_of_all_cells_is_no_part_whatever_was_killed_in_its_folder(take, measure):
    """A shard that is killed at its start has written its facts, and not yet its suite."""
    take("out", "1/2")
    (Path("out") / SUITE).unlink()
    assert measure("out").complete
    assert PART not in results.open(Path("out")).facts
    assert len(table(Path("out"))) == 12


def test_the_report_says_that_a_shard_is_a_part(take):
    take("s1", "1/2")
    said = [*findings.warnings([results.open(Path("s1"))], ["s1"])]
    assert any(line.startswith("s1 is only a part of its suite: shard 1 of 2") for line in said)


def test_shards_of_other_cells_are_not_joined(take, measure, capsys):
    take("s1", "1/2")
    measure("other", "2/2", methods="forward = ['numpy/eigh', 'numpy/svd']")
    code, said = joined(capsys, "s1", "other")
    assert code == 2
    assert "do not belong to the same run" in said
    take("third", "3/3")
    assert joined(capsys, "s1", "third")[0] == 2
    assert not Path("all").exists()


def test_a_shard_and_a_run_of_its_own_are_not_joined(take, capsys):
    """The table would not say that cells of the shard's suite may be missing."""
    take("s1", "1/2")
    take("whole")
    code, said = joined(capsys, "whole", "s1")
    assert code == 2
    assert "s1 is only a part of its suite, and whole is a run of its own" in said


def test_the_same_shard_twice_gives_each_cell_once(take, measure, capsys):
    take("s1", "1/2")
    measure("again", "1/2")
    take("s2", "2/2")
    assert joined(capsys, "s1", "again", "s2")[0] == 0
    assert len(table(Path("all"))) == 12
    runs = {row["run_id"] for row in table(Path("s1")) + table(Path("s2"))}
    assert {row["run_id"] for row in table(Path("all"))} == runs


def test_shards_of_two_machines_are_joined_only_when_told(take, tmp_path, capsys):
    take("s1", "1/2")
    suite = load(Path("tiny.toml")).sharded(shards.parse("2/2"))
    run(suite, Path("s2"), python=stand_in(tmp_path, "elsewhere", cpu="another"))
    code, said = joined(capsys, "s1", "s2")
    assert code == 2
    assert "--mixed" in said
    assert called(capsys, "merge", "s1", "s2", "--mixed", "--out", "all")[0] == 0
    by_run = {(row["run_id"], row["environment"]) for row in table(Path("all"))}
    assert len({environment for _, environment in by_run}) == len(by_run) == 2
    said = " ".join(called(capsys, "show", "all")[1].split())
    assert "These rows are of several environments" in said


def test_check_claims_and_compare_say_that_a_shard_is_a_part(take, capsys):
    with Path("tiny.toml").open("a") as file:
        file.write(CLAIM)
    take("s1", "1/2")
    take("whole")
    with (Path("s1") / "suite.toml").open("a") as file:
        file.write(CLAIM)
    for arguments in (
        ("check", "s1", "--baseline", "whole"),
        ("check", "whole", "--baseline", "s1"),
        ("compare", "whole", "s1"),
        ("claims", "s1"),
        ("show", "s1"),
    ):
        said = " ".join(called(capsys, *arguments)[1].split())
        assert "is only a part of its suite: shard 1 of 2, 6 of 12 cells" in said, arguments
    assert called(capsys, "check", "s1", "--baseline", "whole")[0] == 4
    code, _, err = called(capsys, "baseline", "save", "s1", "--name", "kept")
    assert code == 2
    assert "only a part" in err


def test_the_command_measures_a_shard_into_a_folder_of_its_own(tmp_path, capsys):
    suite, python = write_suite(tmp_path, METHODS, seeds=4), stand_in(tmp_path)
    code, said, err = called(capsys, "run", suite, "--shard", "2/3", "--python", python)
    assert code == 0
    assert "tiny, shard 2 of 3: 4 of 4 cells to measure" in err
    assert "only a part of its suite" in " ".join(said.split())
    assert len(table(Path("results/tiny-shard-2-of-3"))) == 4

    again = called(capsys, "run", suite, "--shard", "2/3", "--python", python)
    assert again[:2] == (0, said), "a run that is complete prints its table again"


def test_a_dry_run_counts_the_cells_of_the_shard(tmp_path, capsys):
    suite = write_suite(tmp_path, METHODS, seeds=4)
    _, said, _ = called(capsys, "run", suite, "--shard", "1/3", "--dry-run")
    assert "tiny, shard 1 of 3, not run" in said
    found = json.loads(called(capsys, "run", suite, "--shard", "1/3", "--dry-run", "--json")[1])
    assert found["cells"] == 4
    assert not Path("results").exists()


@pytest.mark.parametrize("shard", ["0/3", "4/3", "third", "1/13"])
def test_the_command_refuses_what_is_no_shard(tmp_path, capsys, shard):
    suite = write_suite(tmp_path, METHODS, seeds=4)
    code, _, err = called(capsys, "run", suite, "--shard", shard, "--out", "out")
    assert code == 2
    assert "--shard" in err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"of": 2},
        {"of": 2, "cells": 3, "digest": "d", "shards": {"3": {}}},
        {"of": 2, "cells": 3, "digest": "d", "shards": {"1": {}}, "noun": 1},
    ],
)
def test_damaged_facts_of_a_part_are_refused(take, capsys, wrong):
    take("s1", "1/2")
    file = Path("s1") / ENVIRONMENT
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {PART: wrong}), "utf-8")
    code, _, err = called(capsys, "show", "s1")
    assert code == 2
    assert PART in err
