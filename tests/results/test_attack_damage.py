"""Attacks on a run's files: cut off, overwritten, rewritten by other programs, or something else.

No command ends in a traceback, hangs or measures before it refuses; what is refused is named with
its remedy, and the remedy works.
"""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.runs import load as load_suite
from helpers.runs import sample_counts, stand_in, write_suite
from helpers.tables import called, row, write

import mssbench
from mssbench import results
from mssbench.engines.events import Finished
from mssbench.errors import RunError, TableError
from mssbench.records.measurement import Status
from mssbench.records.schema import COLUMNS, SCHEMA
from mssbench.records.summary import Summary
from mssbench.results import files, merge, samples, table
from mssbench.results.folder import LOG, RunFolder
from mssbench.results.parsing import Left
from mssbench.results.rows import (
    ENVIRONMENT,
    JOURNAL,
    SAMPLES,
    TABLE,
    peek,
    read_journal,
    read_rows,
)
from mssbench.run.recorder import Recorder

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A whole run of two rows, with samples and facts."""
    path = tmp_path / "run"
    rows = [row(1e-3, root=1e-6, host_sync=False, passes=1), row(2e-3, size=32, iterations=5)]
    with RunFolder(path) as folder:
        for each in rows:
            folder.append([each], [[1e-3, 2e-3]])
        facts = {"environments": {"e" * 12: {"cpu": "x"}}, "runs": {"r" * 12: {"drift": 0.1}}}
        folder.write_facts(facts)
        folder.finish(rows)
    return path


def edited(run: Path, old: bytes, new: bytes) -> None:
    data = (run / TABLE).read_bytes()
    assert old in data
    (run / TABLE).write_bytes(data.replace(old, new, 1))


def torn_middle(file: Path) -> None:
    """Both ends of the file are whole, and a page between them is not."""
    data = bytearray(file.read_bytes())
    data[8:60] = os.urandom(52)
    file.write_bytes(data)


def another_parquet(file: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), file)


def null_ids(file: Path) -> None:
    stored = pq.read_table(file)
    gone = pa.array([None] * len(stored), pa.string())
    pq.write_table(stored.set_column(0, "cell_id", gone), file)


BAD_SAMPLES = {
    "truncated": lambda f: f.write_bytes(f.read_bytes()[:-20]),
    "empty": lambda f: f.write_bytes(b""),
    "garbage": lambda f: f.write_bytes(b"\x00garbage" * 99),
    "lfs": lambda f: f.write_bytes(LFS),
    "another": another_parquet,
    "no-ids": null_ids,
    "folder": lambda f: (f.unlink(), f.mkdir()),
    "pipe": lambda f: (f.unlink(), os.mkfifo(f)),
}


@pytest.mark.parametrize("how", BAD_SAMPLES)
def test_attack_damaged_samples_are_refused_before_measuring_and_mended(
    run: Path, how: str, capsys: Any
) -> None:
    BAD_SAMPLES[how](run / SAMPLES)
    with pytest.raises(TableError, match=r"samples.parquet is damaged.*merge.*--fresh"):
        RunFolder(run)

    code, _, err = called(capsys, "export", run, "--to", "pytest-benchmark")
    assert (code, "samples.parquet is damaged" in err) == (2, True)

    code, out, err = called(capsys, "merge", run)
    assert (code, "kept as samples.parquet.damaged" in out) == (0, True), err
    with RunFolder(run) as folder:
        assert len(folder.rows()) == 2


def test_attack_a_page_torn_inside_the_samples_is_seen(run: Path) -> None:
    torn_middle(run / SAMPLES)
    try:
        samples.check(run)
    except TableError as error:
        assert "is damaged" in str(error)  # noqa: PT017  (it may also be read, as pages are small)


@pytest.mark.parametrize("how", ["truncated", "lfs", "pipe"])
def test_attack_samples_damaged_in_one_of_two_runs_cost_that_run_its_samples_only(
    run: Path, tmp_path: Path, how: str
) -> None:
    other = row(3.0, size=64)
    with RunFolder(tmp_path / "other") as folder:
        folder.append([other], [[3.0]])
        folder.finish([other])
    BAD_SAMPLES[how](run / SAMPLES)

    summary = merge.merge([run, tmp_path / "other"], tmp_path / "both", mixed=True)
    assert summary["counts"]["rows"] == 3
    assert "left out" in summary["remarks"][0]
    assert sum(sample_counts(tmp_path / "both").values()) == 1


BAD_VALUES = {
    "size": (b",16,64,", b",sixteen,64,", "size is 'sixteen', which is not a whole number"),
    "half": (b",16,64,", b",16.5,64,", "size is '16.5', which is not a whole number"),
    "missing": (b",16,64,", b",,64,", "size is missing"),
    "time": (b",0.001,", b",1 ms,", "is '1 ms', which is not a number"),
    "comma": (b",0.001,", b',"0,001",', "is '0,001', which is not a number"),
    "status": (b",ok,", b",OKAY,", "status is 'OKAY', which is not a status"),
    "precision": (b",float32,", b",float99,", "precision is 'float99'"),
    "phase": (b",forward,wall", b",froward,wall", "phase is 'froward'"),
    "negative": (b",0.001,", b",-0.001,", "below zero"),
    "half-timed": (b",0.001,0.001,", b",0.001,,", "seconds_q1 is missing"),
    "huge": (b",16,64,", b",16," + b"9" * 20 + b",", f"batch is '{'9' * 20}', which is not"),
    "power": (b",16,64,", b",16,1e300,", "batch is '1e300', which is not a whole number"),
    "endless": (b",16,64,", b",16," + b"9" * 5000 + b",", "', which is not a whole number"),
    "thousands": (b",0.001,", b",1_0,", "is '1_0', which is not a number"),
    "script": (b",16,64,", ",16,٦٤,".encode(), "batch is '٦٤', which is not a whole number"),
    "script-time": (b",0.001,", ",٠.١,".encode(), "is '٠.١', which is not a number"),
    "truth": (b",False,", b",perhaps,", "host_sync is 'perhaps', which is not a truth value"),
    "latin-1": (b",ok,,", b",ok,caf\xe9,", "line 2 is not UTF-8"),
    "fields": (b",16,64,", b",16,", "fields"),
    "conflict": (b"\ntorch", b"\n<<<<<<< ours\ntorch", "line 2: it has 1 of "),
}


@pytest.mark.sampled(5)
@pytest.mark.parametrize("what", BAD_VALUES)
def test_attack_a_wrong_value_in_a_table_is_named_by_every_reader_and_merge_leaves_out_its_row(
    run: Path, what: str, capsys: Any
) -> None:
    old, new, said = BAD_VALUES[what]
    edited(run, old, new)
    before = (run / TABLE).read_bytes()
    for reader in (table.load, peek, RunFolder):
        with pytest.raises((TableError, RunError)) as caught:
            reader(run)
        assert said in str(caught.value), reader
        assert str(run / TABLE) in str(caught.value)
    assert (run / TABLE).read_bytes() == before

    for words in (("show", run), ("check", run, "--baseline", run), ("compare", run, run)):
        code, _, err = called(capsys, *words)
        assert (code, said in err, "Traceback" in err) == (2, True, False)

    code, out, _ = called(capsys, "merge", run)
    assert code == 0
    kept = table.load(run)
    assert len(kept) == (2 if what in ("conflict", "latin-1") else 1)
    assert (run / "table.csv.damaged").exists() == (what != "latin-1")
    assert ("left out of" in out) == (what != "latin-1")


@pytest.mark.parametrize("size", ["0016", " 16", "16\t", "+16", "1.6e1", '"16\n"', '"\x0b16"'])
def test_attack_a_number_in_an_odd_spelling_is_read_as_itself(run: Path, size: str) -> None:
    edited(run, b",16,64,", f",{size},64.0,".encode())
    edited(run, b",0.001,", b',"0.001\n",')
    found = table.load(run)
    assert found["size"].tolist() == [16, 32]
    assert found["seconds_median"].tolist() == [1e-3, 2e-3]
    assert len(peek(run)) == 2


def measured_again(tmp_path: Path, damage: Any, *more: str) -> tuple[int, str, Path, Path]:
    """A run by a stand-in, its files damaged, and the same run again with a log of its worker."""
    suite = write_suite(tmp_path, seeds=3)
    out = tmp_path / "measured"
    python = stand_in(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", io.StringIO())
        patch.setattr("sys.stderr", io.StringIO())
        assert invoke("run", suite, "--out", out, "--python", python) == 0
    damage(out)
    log = tmp_path / "log"
    python = stand_in(tmp_path, "logged", log=str(log))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", io.StringIO())
        patch.setattr("sys.stderr", error := io.StringIO())
        code = invoke("run", suite, "--out", out, "--python", python, *more)
    return code, error.getvalue(), out, log


def invoke(*words: object) -> int:
    from mssbench.cli import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["mssbench", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main.main()
    return int(stop.value.code or 0)


def lose_a_row(out: Path) -> None:
    """So that there is something to measure."""
    lines = (out / TABLE).read_text().splitlines(keepends=True)
    (out / TABLE).write_text("".join(lines[:-1]))


DAMAGES = {
    "samples": lambda out: (out / SAMPLES).write_bytes(LFS),
    "table": lambda out: edited(out, b",4,2,", b",four,2,"),
    "facts": lambda out: (out / ENVIRONMENT).write_text('{"environments": [1]}'),
    "journal": lambda out: (out / JOURNAL).symlink_to("/dev/null"),
    "column": lambda out: edited(out, b"library,forward", b"library,library,forward"),
    "suite": lambda out: (out / "suite.toml").write_text('name = "tiny"\nmeasure = 3\n'),
}


@pytest.mark.sampled(1, slow=2)
@pytest.mark.parametrize("what", DAMAGES)
def test_attack_a_run_refuses_damage_before_its_worker_starts_and_fresh_mends_it(
    tmp_path: Path, what: str
) -> None:
    def damage(out: Path) -> None:
        lose_a_row(out)
        DAMAGES[what](out)

    code, err, out, log = measured_again(tmp_path, damage)
    assert code == 2, err
    assert "Traceback" not in err
    assert not log.exists()

    suite, python = tmp_path / "tiny.toml", tmp_path / "stand_in"
    assert invoke("run", suite, "--out", out, "--python", python, "--fresh") == 0
    assert len(table.load(out)) == 3
    assert not (out / JOURNAL).exists()


SHAPES = {
    "list": "[]",
    "number": "3",
    "environments": '{"environments": []}',
    "runs": '{"runs": null}',
    "facts": '{"environments": {"e": 3}}',
    "cores": '{"environments": {"e": {"cores": 2}}}',
    "gpus": '{"environments": {"e": {"gpus": ["H200"]}}}',
    "versions": '{"environments": {"e": {"versions": [1]}}}',
    "drift": '{"runs": {"r": {"drift": "much"}}}',
    "load": '{"runs": {"r": {"load_start": ["high"]}}}',
    "document-of-e": '{"environments": {"e": {"document": 5}}}',
    "load-of-e": '{"environments": {"e": {"load_start": 5}}}',
    "gpus-of-r": '{"runs": {"r": {"gpus": null}}}',
    "cores-of-r": '{"runs": {"r": {"cores": [1]}}}',
    "quota": '{"environments": {"e": {"cores": {"granted": 2, "quota": "half"}}}}',
    "deep": "[" * 100_000,
    "lfs": LFS.decode(),
    "latin": '{"environments": {"é": {}}}',
}


@pytest.mark.sampled(9)
@pytest.mark.parametrize("shape", SHAPES)
def test_attack_facts_of_another_shape_are_refused_by_name(
    run: Path, shape: str, capsys: Any
) -> None:
    (run / ENVIRONMENT).write_text(SHAPES[shape], encoding="latin-1")
    for words in (("show", run), ("check", run, "--baseline", run)):
        code, _, err = called(capsys, *words)
        assert (code, "environment.json is damaged" in err, "Traceback" in err) == (2, True, False)
    with pytest.raises(RunError, match="is damaged"):
        RunFolder(run)
    assert called(capsys, "merge", run)[0] == 0
    assert called(capsys, "show", run)[0] == 0


# What other programs make of a table


def by_pandas(text: str) -> str:
    """Whole numbers of a column with gaps become 5.0, and a column of row numbers is added."""
    return str(pd.read_csv(io.StringIO(text)).to_csv())


def by_r(text: str) -> str:
    """Quotes around every text, NA for what is missing, TRUE and FALSE."""
    frame = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)
    for column in SCHEMA:
        if column.kind == "bool":
            frame[column.name] = frame[column.name].str.upper()
        if column.kind != "str" or (frame[column.name] == "").all():
            frame[column.name] = frame[column.name].replace("", "NA")
    return str(frame.to_csv(index=False, quoting=csv.QUOTE_ALL).replace('"NA"', "NA"))


def by_spreadsheet(text: str) -> str:
    """A mark, CRLF, and no line break at the end."""
    return "\ufeff" + text.replace("\n", "\r\n").removesuffix("\r\n")


def as_floats(text: str) -> str:
    """Every whole number as 12.0, and large ones as 1e+05."""
    frame = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)
    for column in SCHEMA:
        if column.kind == "int":
            frame[column.name] = [f"{x}.0" if x else x for x in frame[column.name]]
    frame["seed"] = [f"{float(x):.0e}" if x != "0.0" else x for x in frame["seed"]]
    return str(frame.to_csv(index=False))


def by_sorting(text: str) -> str:
    frame = pd.read_csv(io.StringIO(text), keep_default_na=False, dtype=str)
    return str(frame[sorted(frame.columns, reverse=True)].to_csv(index=False))


def by_old_mac(text: str) -> str:
    """An empty line between the rows."""
    return text.replace("\n", "\n\n")


REWRITERS = {
    f.__name__: f for f in (by_pandas, by_r, by_spreadsheet, as_floats, by_sorting, by_old_mac)
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("how", REWRITERS)
def test_attack_a_table_that_went_through_another_program_says_the_same(
    tmp_path: Path, how: str, capsys: Any
) -> None:
    path = write(
        tmp_path / "run",
        row(1e-3, root=1e-6, host_sync=False, seed=100_000, reason="a, 'b' é", passes=2),
        row(2e-3, size=32, iterations=5, host_sync=True, nonfinite=0),
        row(status="not_installed", reason="no cupy", library="cupy"),
    )
    before, texts = table.load(path), peek(path)
    text = REWRITERS[how]((path / TABLE).read_text())
    (path / TABLE).write_bytes(text.encode())
    assert text != write(tmp_path / "again", *table.records(before)).joinpath(TABLE).read_text()

    pd.testing.assert_frame_equal(table.load(path), before)
    numeric = {c.name for c in SCHEMA if c.kind == "float"}
    plain = [{k: v for k, v in each.items() if k not in numeric} for each in peek(path)]
    assert plain == [{k: v for k, v in each.items() if k not in numeric} for each in texts]

    with RunFolder(path) as folder:  # it is appended to, and settled into our own spelling
        folder.append([row(3.0, seed=7)], [[3.0]])
        folder.finish(folder.rows())
    assert (path / TABLE).read_text().splitlines()[0] == ",".join(COLUMNS)
    assert table.load(path)["seed"].tolist() == [100_000, 0, 0, 7]
    assert called(capsys, "check", path, "--baseline", path)[0] == 0


def test_attack_a_table_saved_with_semicolons_is_refused_with_the_reason(run: Path) -> None:
    (run / TABLE).write_text((run / TABLE).read_text().replace(",", ";"))
    with pytest.raises(TableError, match="separated by semicolons: save it with commas"):
        table.load(run)
    with pytest.raises(RunError, match="separated by semicolons"):
        RunFolder(run)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_attack_a_table_in_another_encoding_is_refused_and_fresh_replaces_it(
    run: Path, encoding: str
) -> None:
    (run / TABLE).write_bytes((run / TABLE).read_text().encode(encoding))
    with pytest.raises(TableError, match="not a result table"):
        table.load(run)
    with pytest.raises((RunError, TableError)):
        RunFolder(run)
    with RunFolder(run, fresh=True) as folder:  # its facts say that it is a run of ours
        folder.append([row(3.0)], [[3.0]])
        folder.finish(folder.rows())
    assert len(table.load(run)) == 1


@pytest.mark.parametrize("name", [TABLE, SAMPLES])
def test_attack_a_pointer_of_git_lfs_is_called_that(run: Path, name: str, capsys: Any) -> None:
    (run / name).write_bytes(LFS)
    code, _, err = called(capsys, "export", run, "--to", "pytest-benchmark")
    assert (code, "pointer of Git LFS" in err, "git lfs pull" in err) == (2, True, True)


def test_attack_rows_that_are_there_twice_are_named_and_merge_keeps_the_last(
    run: Path, capsys: Any
) -> None:
    lines = (run / TABLE).read_text().splitlines(keepends=True)
    again = lines[1].replace(",ok,", ",crashed,")
    (run / TABLE).write_text("".join([*lines, again]))
    for reader in (table.load, peek, RunFolder):
        with pytest.raises(TableError, match=r"one row twice, in lines 2 and 4 \(torch, eigh"):
            reader(run)
    code, _, err = called(capsys, "check", run, "--baseline", run)
    assert (code, "in lines 2 and 4" in err) == (2, True)
    assert called(capsys, "merge", run)[0] == 0
    assert sorted(table.load(run)["status"]) == ["crashed", "ok"]


# Files that are something else


@pytest.mark.parametrize("name", [TABLE, JOURNAL, SAMPLES, ENVIRONMENT, "suite.toml"])
def test_attack_a_pipe_in_the_place_of_a_file_is_never_waited_for(
    run: Path, name: str, capsys: Any
) -> None:
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    assert called(capsys, "show", run)[0] in (0, 2)
    try:
        RunFolder(run).__exit__()
    except (RunError, TableError) as error:
        assert name in str(error)  # noqa: PT017


def test_attack_a_symlinked_journal_is_neither_read_nor_written(
    run: Path, tmp_path: Path, capsys: Any
) -> None:
    victim = tmp_path / "diary"
    victim.write_text("dear diary")
    (run / JOURNAL).symlink_to(victim)
    with pytest.raises(RunError, match=r"journal.jsonl cannot be read"):
        RunFolder(run)
    with pytest.raises(OSError, match="symbolic links"):
        files.Lines(run / JOURNAL)
    code, _, err = called(capsys, "show", run)
    assert (code, "journal.jsonl" in err) == (2, True)
    assert "--out" not in err  # an option that `show` does not have

    with RunFolder(run, fresh=True) as folder:
        folder.append([row(3.0)], [[3.0]])
        folder.finish(folder.rows())
    assert victim.read_text() == "dear diary"
    assert not (run / JOURNAL).exists()


def test_attack_a_journal_put_there_during_a_run_is_not_followed(
    tmp_path: Path,
) -> None:
    victim = tmp_path / "diary"
    victim.write_text("dear diary")
    with RunFolder(tmp_path / "run") as folder:
        (folder.path / JOURNAL).symlink_to(victim)
        with pytest.raises(RunError, match="cannot be written"):
            folder.append([row(1.0)], [[1.0]])
    assert victim.read_text() == "dear diary"


def other_kind(path: Path, kind: str) -> None:
    """Something else in the place of a file: a link to the same contents, where it had any."""
    data = path.read_bytes() if path.exists() else b""
    path.unlink(missing_ok=True)
    if kind == "a symbolic link":
        (target := path.parent.with_name("elsewhere")).write_bytes(data)
        path.symlink_to(target)
    elif kind == "a folder":
        path.mkdir()
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("kind", ["a symbolic link", "a folder", "a pipe"])
def test_attack_a_log_that_is_no_file_costs_no_row_and_is_not_waited_for(
    tmp_path: Path, kind: str
) -> None:
    suite = load_suite(write_suite(tmp_path, seeds=2))
    with RunFolder(tmp_path / "run") as folder:
        other_kind(folder.path / LOG, kind)
        summary = Summary(folder.path, 2, interrupted=True)
        record = Recorder(folder, suite, {}, {})
        for cell in suite.cells:
            crash = Finished(cell, [], [], {}, Status.CRASHED, "asked for", log="Traceback")
            record(crash, summary)
        record.close(suite.cells, summary)
    assert summary.unlogged.startswith(f"{folder.path / LOG} cannot be written: it is {kind}. ")
    assert {each["status"] for each in peek(folder.path)} == {"crashed"}
    if kind == "a symbolic link":
        assert (tmp_path / "elsewhere").read_bytes() == b""


def test_attack_a_table_behind_a_link_is_shown_and_mended_and_not_written_through(
    run: Path, tmp_path: Path, capsys: Any
) -> None:
    other_kind(run / TABLE, "a symbolic link")
    with pytest.raises(RunError, match=r"table.csv is a symbolic link.*put a file in its place"):
        RunFolder(run)
    assert len(table.load(run)) == 2
    assert called(capsys, "show", run)[0] == 0

    before = (tmp_path / "elsewhere").read_bytes()
    assert called(capsys, "merge", run)[0] == 0
    with RunFolder(run) as folder:
        folder.append([row(3.0, seed=9)], [[3.0]])
    assert (tmp_path / "elsewhere").read_bytes() == before


@pytest.mark.parametrize("kind", ["a folder", "a pipe"])
@pytest.mark.parametrize("name", [TABLE, JOURNAL, SAMPLES, ENVIRONMENT, "suite.toml"])
def test_attack_what_cannot_be_replaced_is_refused_by_name_before_measuring(
    run: Path, name: str, kind: str
) -> None:
    other_kind(run / name, kind)
    kept = (run / TABLE).read_bytes() if name != TABLE else b""
    with pytest.raises((RunError, TableError), match=name):
        RunFolder(run)
    if kind == "a folder":  # which --fresh cannot delete: it deletes no other file either
        with pytest.raises(RunError, match=f"{name} (is|cannot be read)"):
            RunFolder(run, fresh=True)
        assert name == TABLE or (run / TABLE).read_bytes() == kept


BAD_ENTRIES = (
    {"rows": 3, "samples": []},
    {"rows": [3], "samples": [[]]},
    {"rows": [row(1.0) | {"size": "x"}], "samples": [[1.0]]},
    {"rows": [row(1.0) | {"size": [1]}], "samples": [[1.0]]},
    {"rows": [row(1.0) | {"batch": 2**63}], "samples": [[1.0]]},
    {"rows": [row(1.0) | {"status": "fine"}], "samples": [[1.0]]},
    {"rows": [row(1.0)], "samples": [["x"]]},
    {"rows": [row(1.0)], "samples": []},
    {"rows": [row(1.0)], "samples": 7},
    {"rows": [{"cell_id": "a"}], "samples": [[1.0]]},
    {"rows": {"a": 1}, "samples": [[1.0]]},
)


def test_attack_a_journal_with_entries_of_another_shape_costs_only_these(
    run: Path, capsys: Any
) -> None:
    good = {"rows": [row(3.0, seed=9)], "samples": [[3.0]]}
    lines = [json.dumps(entry) for entry in (*BAD_ENTRIES, good)]
    (run / JOURNAL).write_text("\n".join([*lines, "[" * 10_000, '{"rows"']))
    assert len(list(read_journal(run / JOURNAL))) == 1
    assert len(table.load(run)) == 3
    assert called(capsys, "show", run)[0] == 0
    with RunFolder(run) as folder:
        folder.finish(folder.rows())
    assert len(table.load(run)) == 3
    assert sum(sample_counts(run).values()) == 5


def test_attack_an_editor_that_drops_the_last_line_break_costs_no_row(run: Path) -> None:
    (run / TABLE).write_text((run / TABLE).read_text().removesuffix("\n"))
    assert len(peek(run)) == len(table.load(run)) == 2
    with RunFolder(run) as folder:
        folder.append([row(3.0, seed=9)], [[3.0]])
        assert len(peek(run)) == 3
    (run / JOURNAL).unlink()
    assert len(peek(run)) == 3


def cut(run: Path, fields: int) -> None:
    """Cut the last line of a table off after so many fields."""
    whole, _, last = (run / TABLE).read_bytes().removesuffix(b"\n").rpartition(b"\n")
    (run / TABLE).write_bytes(whole + b"\n" + b",".join(last.split(b",")[:fields]))


READERS = {
    "show": ("show", "RUN"),
    "show json": ("show", "RUN", "--json"),
    "pareto": ("pareto", "RUN"),
    "compare": ("compare", "RUN", "RUN"),
    "export": ("export", "RUN", "--to", "csv"),
    "baseline": ("baseline", "save", "RUN", "--name", "x"),
}


@pytest.mark.parametrize("fields", [1, 8, len(COLUMNS) - 1])
@pytest.mark.parametrize("command", READERS.values(), ids=READERS)
def test_attack_a_table_whose_last_line_is_cut_off_is_refused_and_mended(
    run: Path, command: tuple[str, ...], fields: int, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    words = [str(run) if word == "RUN" else word for word in command]
    cut(run, fields)
    code, out, err = called(capsys, *words)
    assert (code, out) == (2, "")
    assert f"table.csv is damaged: the last line has {fields} of {len(COLUMNS)} fields" in err
    assert "mssbench merge" in err

    code, out, _ = called(capsys, "merge", run)
    assert code == 0
    assert f"the last line has {fields} of {len(COLUMNS)} fields" in " ".join(out.split())
    assert (run / f"{TABLE}.damaged").exists()
    assert called(capsys, *words)[0] == 0
    assert len(table.load(run)) == 1


def test_attack_load_refuses_a_table_whose_last_line_is_cut_off(run: Path) -> None:
    cut(run, 8)
    for path in (run, run / TABLE):
        for read in (mssbench.load, table.load, lambda path: results.open(path).frame):
            with pytest.raises(TableError, match="the last line has 8 of"):
                read(path)


def test_attack_recommend_refuses_a_table_whose_last_line_is_cut_off(
    run: Path, capsys: Any
) -> None:
    cut(run, 8)
    code, out, err = called(capsys, "recommend", run, "--size", 32, "--batch", 4, "--device", "cpu")
    assert (code, out) == (2, "")
    assert "table.csv is damaged: the last line has 8 of" in err


def test_attack_rows_of_a_table_are_read_up_to_a_last_line_that_is_cut_off(run: Path) -> None:
    """As `merge` reads them; `run` leaves the line out too, and measures its cell again."""
    cut(run, 8)
    left: list[Left] = []
    assert len(table.load(run, left=left)) == len(read_rows(run / TABLE)) == 1
    assert left == [Left(3, f"the last line has 8 of {len(COLUMNS)} fields")]


def test_a_last_line_that_lacks_its_line_break_only_is_read(run: Path, capsys: Any) -> None:
    (run / TABLE).write_bytes((run / TABLE).read_bytes().removesuffix(b"\n"))
    assert called(capsys, "show", run)[0] == 0
    assert len(mssbench.load(run)) == 2


def test_a_last_line_that_the_journal_has_in_full_is_read(tmp_path: Path, capsys: Any) -> None:
    with RunFolder(tmp_path / "killed") as folder:
        folder.append([row(1e-3, root=1e-6)], [[1e-3]])
    cut(tmp_path / "killed", 8)
    assert called(capsys, "show", tmp_path / "killed")[0] == 0


@pytest.mark.parametrize("text", ["", "a", "a,b", "a,b\n1", "a,b\n1,2\n3"])
def test_another_table_is_not_called_a_damaged_one_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / TABLE).write_text(text)
    with pytest.raises(TableError, match="is not a result table"):
        table.load(tmp_path)
