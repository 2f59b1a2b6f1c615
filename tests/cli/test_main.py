"""The command line as a user has it: processes, pipes, terminals, exit codes, time and imports."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections import Counter

import pandas as pd
import pytest
from helpers.methods_of_tables import EIGH, NS, SMALL, SVD
from helpers.pace import of_call, of_process, too_slow
from helpers.root import ROOT
from helpers.runs import stand_in
from helpers.tables import CONTROL, called, mssbench, row, write

from mssbench.cli import measuring
from mssbench.cli import run as run_
from mssbench.console.terminal import plain
from mssbench.records.summary import Summary

TINY = """\
name = "tiny"
[axes]
size = 4
batch = 2
precision = "float64"
[[method]]
forward = "torch/eigh"
"""
SHOWN = """\
forward · sqrt · float32 · batch 64 · cpu · wall clock

  method                                   n = 16   root error                 n = 64   root error
 ──────────────────────────────────────────────────────────────────────────────────────────────────
  torch/eigh                      1.00 ms (1.00x)   1e-06             20.0 ms (1.00x)   2e-06
  torch/svd                       2.00 ms (2.00x)   2e-07             50.0 ms (2.50x)   5e-07
  torch/newton_schulz k=5 trace    500 us (0.50x)   2e-01                           -   oom
                                                    inaccurate


forward, n = 64: fastest with a root error of at most 1e-06 is torch/svd, 50.0 ms (root error 5e-07,
on singular matrices). Nothing here is clearly more accurate. Faster: torch/eigh, 0.40x the time at
error 2e-06.
inaccurate: 1 cell: timed, but cannot win
oom: 1 cell: wanted 9 GiB
measured on an unknown machine (eeeeeeeeeeee)
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write(tmp_path_factory.mktemp("runs") / "small", *SMALL)


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_show_prints_the_table_in_full_into_a_pipe(small):
    done = mssbench("show", small, columns=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, SHOWN, "")


@pytest.mark.parametrize("setting", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"COLUMNS": "80"}])
def test_into_a_pipe_go_no_control_codes_and_no_blanks_at_the_ends(
    small, setting, monkeypatch, capsys
):
    for name in ("COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    _, out, _ = called(capsys, "show", small)
    assert out
    assert CONTROL.search(out) is None
    assert not [line for line in out.splitlines() if line != line.rstrip()]
    assert max(map(len, out.splitlines())) <= int(setting.get("COLUMNS", 110))


def test_json_has_the_numbers_of_the_table(small, capsys):
    _, text, _ = called(capsys, "show", small, "--json")
    data = json.loads(text)
    (block,) = data["blocks"]
    found = {(e["method"], e["size"]): e for e in block["entries"]}
    assert found["torch/svd", 64] == {
        "method": "torch/svd",
        "size": 64,
        "seconds_median": 0.05,
        "root_error": 5e-7,
        "ratio": 2.5,
        "best": False,
        "rows": 1,
        "failures": {},
        "partial": False,
        "condition": {"least": None, "largest": None, "singular": True, "repeated": False},
    }
    assert found["torch/newton_schulz k=5 trace", 64]["failures"] == {"oom": 1}
    assert found["torch/newton_schulz k=5 trace", 16]["ratio"] == 0.5
    assert (block["phase"], block["batch"], block["hidden"]) == ("forward", 64, {})
    assert " ".join(SHOWN.split()).count(data["conclusions"][0]) == 1
    assert data["failures"] == [
        {"status": "inaccurate", "cells": 1, "methods": 1, "reasons": []},
        {
            "status": "oom",
            "cells": 1,
            "methods": 1,
            "reasons": [{"reason": "wanted 9 GiB", "cells": 1}],
        },
    ]


def busy_facts():
    machine = {"e" * 12: {"cores": {"granted": 2}}}
    return {"environments": machine, "runs": {"r" * 12: {"load_start": [9.0, 9.0, 9.0]}}}


@pytest.mark.parametrize("value", ["seconds_median", "root_error"])
def test_json_ranks_no_times_that_do_not_compare_as_the_table_does(tmp_path, capsys, value):
    run = write(tmp_path / "r", row(1e-3, root=1e-6), row(2e-3, root=1e-7, **SVD))
    quiet = json.loads(called(capsys, "show", run, "--json", "--value", value)[1])
    (run / "environment.json").write_text(json.dumps(busy_facts()))
    busy = json.loads(called(capsys, "show", run, "--json", "--value", value)[1])
    assert (quiet["comparable"], busy["comparable"]) == (True, False)

    def best(data):
        return [entry["best"] for block in data["blocks"] for entry in block["entries"]]

    assert any(best(quiet))
    assert any(best(busy)) is (value == "root_error")
    ratios = [entry["ratio"] for block in busy["blocks"] for entry in block["entries"]]
    assert (ratios == [None, None]) is (value == "seconds_median")


def test_a_run_with_no_row_says_so_whatever_is_selected_and_a_missing_rest_names_the_remedy(
    tmp_path, capsys
):
    empty = write(tmp_path / "empty")
    due = f"mssbench: {empty} has no row yet.\n"
    assert called(capsys, "show", empty, "--where", "size > 16") == (2, "", due)
    code, _, err = called(capsys, "show", write(tmp_path / "r", row(1e-3)), "--left-over")
    assert (code, "Leave out --left-over" in err) == (2, True)


def test_json_is_json_even_where_a_number_is_infinite(tmp_path, capsys):
    run = write(tmp_path / "r", row(1e-3, root=float("inf")), row(2e-3, root=1e-7, **SVD))
    _, text, _ = called(capsys, "show", run, "--json", "--value", "root_error")

    def no(word):
        raise AssertionError(f"{word} is not JSON")

    data = json.loads(text, parse_constant=no)
    assert [e["root_error"] for e in data["blocks"][0]["entries"]] == [1e-7, None]


def test_json_of_any_layout(small, capsys):
    _, text, _ = called(
        capsys, "show", small, "--json", "--rows", "backend,iterations", "--columns", "size,phase"
    )
    keys = {
        (e["backend"], e["iterations"], e["phase"])
        for e in json.loads(text)["blocks"][0]["entries"]
    }
    assert ("torch/eigh", None, "forward") in keys
    assert ("torch/newton_schulz", 5, "forward") in keys


SHOW_REFUSED = [
    (
        ["--where", "siz > 3"],
        "--where 'siz > 3': Unknown column 'siz'. Did you mean 'size'? Nearest of ",
    ),
    (
        ["--where", "size > 99"],
        "--where 'size > 99' leaves none of the 6 rows. Present values of size: ",
    ),
    (
        ["--where", "status == 'crashed'"],
        "--where \"status == 'crashed'\" leaves none of the 6 rows. No row has the status "
        "'crashed'. Present: inaccurate, ok, oom.\n",
    ),
    (["--value", "status"], "--value: the column 'status' holds no measured number. Name one"),
    (["--value", "size"], "--value: the column 'size' holds no measured number. Name one"),
    (
        ["--where", "forward == 'eig'"],
        "--where \"forward == 'eig'\" leaves none of the 6 rows. "
        "Unknown forward 'eig'. Did you mean 'eigh'? Known: eigh, newton_schulz, svd.\n",
    ),
    (
        ["--where", "print(1)"],
        "--where 'print(1)': `print(1)` is not allowed. Write comparisons of "
        "columns, joined by and, or, not.\n",
    ),
    (["--rows", "metod"], "--rows: Unknown column 'metod'. Did you mean 'method'? Known: "),
    (["--columns", "size,size"], "'size' is named twice in --rows and --columns.\n"),
    (["--columns", ","], "--columns is empty: name a key column, such as method or size.\n"),
    (["--value", "reason"], "--value: the column 'reason' holds no measured number. Name one"),
    (["--value", "reasons"], "--value: Unknown value 'reasons'. "),
]


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["table", "json"])
@pytest.mark.parametrize(("flags", "said"), SHOW_REFUSED, ids=lambda x: "".join(x)[:30])
def test_show_refuses_what_it_cannot_show(small, capsys, flags, said, as_json):
    code, out, err = called(capsys, "show", small, *flags, *as_json)
    assert (code, out) == (2, "")
    assert err.startswith(f"mssbench: {said}")
    assert err.count("\n") == 1


def test_show_of_a_run_that_is_not_there_is_refused(small, capsys):
    code, out, err = called(capsys, "show", small.parent / "smal")
    there = small.parent / "smal"
    assert (code, out) == (2, "")
    assert err == (
        f"mssbench: there is no run in {there}. Did you mean '{small}'? Runs beside it: small. "
        f"Make one with `mssbench run quick --out {there}`.\n"
    )


def test_show_of_an_empty_run_says_so(tmp_path, capsys):
    run = write(tmp_path / "r")
    assert called(capsys, "show", run) == (2, "", f"mssbench: {run} has no row yet.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shwo"], "No such command 'shwo'. Did you mean 'show'?"),
        (["show"], "Missing argument"),
        (["run", "quick", "--sett", "a=1"], "No such option: --sett"),
    ],
    ids=lambda x: " ".join(x),
)
def test_misuse_of_the_command_line_ends_with_two(capsys, arguments, said):
    code, out, err = called(capsys, *arguments)
    assert (code, out) == (2, "")
    assert said in " ".join(re.sub("[│╭╮╰╯─]", " ", err).split())


def test_also_with_a_file_that_fails_is_refused(tmp_path, capsys):
    mine = tmp_path / "mine.py"
    mine.write_text("1 / 0\n")
    code, out, err = called(capsys, "run", "quick", "--dry-run", "--also", mine)
    assert (code, out, err) == (
        2,
        "",
        f"mssbench: --also {mine}: ZeroDivisionError: division by zero\n",
    )


def test_merge_refuses_without_writing(small, tmp_path, capsys):
    file = tmp_path / "taken"
    file.write_text("mine")
    taken = f"mssbench: {file} is not an empty folder. Nothing was written: choose another --out.\n"
    assert called(capsys, "merge", small, small, "--out", file) == (2, "", taken)
    assert file.read_text() == "mine"
    several = "mssbench: to join several runs, name the folder of the result: --out FOLDER.\n"
    assert called(capsys, "merge", small, small) == (2, "", several)


def test_merge_takes_folders_or_their_tables(small, tmp_path, capsys):
    other = write(tmp_path / "b", row(9.0, root=1e-6, **EIGH), row(3.0, seed=5))
    facts = {"environments": {"e": {"cpu": "x"}}, "runs": {"r": {}}}
    (other / "environment.json").write_text(json.dumps(facts))
    out = tmp_path / "whole"
    code, text, _ = called(
        capsys, "merge", small / "table.csv", other / "table.csv", "--out", out, "--json"
    )
    found = json.loads(text)
    assert (code, found["path"]) == (0, str(out))
    assert found["counts"] == {"rows": 7, "cells": 7, "runs": 2}
    assert json.loads((out / "environment.json").read_text())["environments"] == {"e": {"cpu": "x"}}


def test_dry_run_counts_every_cell_and_writes_nothing(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    flags = ["--set", "size=4,8", "--set", "seed=0:9:+1", "--effort", "smoke"]
    code, text, err = called(capsys, "run", tiny, "--dry-run", *flags, "--only", "size == 4")
    assert (code, err) == (0, "")
    assert re.fullmatch(
        r"tiny, not run\n\n  method +cells   time +memory\n ─+\n"
        r"  torch/eigh +10   ~\S+ s   ~2.00 KiB\n\n"
        r"10 cells, about \d+ s in all, up to 2.00 KiB on cpu; estimated from operation counts, "
        r"nothing was run\n",
        text,
    ), text
    _, text, _ = called(capsys, "run", tiny, "--dry-run", "--json", *flags)
    data = json.loads(text)
    assert (data["suite"], data["cells"], data["devices"]) == ("tiny", 20, ["cpu"])
    assert [m["method"] for m in data["methods"]] == ["torch/eigh"]
    assert sum(m["cells"] for m in data["methods"]) == data["cells"]
    assert data["seconds"] >= sum(m["seconds"] for m in data["methods"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["tiny.toml"]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """100,000 rows: 25 methods, 10 problems, 5 sizes, 4 batches, 2 precisions, 10 seeds."""
    names = ["library", "forward", "options", "problem", "size", "batch", "precision", "seed"]
    methods = [("torch", f"m{i}", f"norm=x{i % 3}") for i in range(25)]
    keys = pd.MultiIndex.from_product(
        [
            range(25),
            [f"logspec(condition=1e{i})" for i in range(10)],
            [16, 32, 64, 128, 256],
            [1, 16, 256, 1024],
            ["float32", "float64"],
            range(10),
        ]
    ).to_frame(index=False)
    chosen = pd.DataFrame(methods).iloc[keys[0]].reset_index(drop=True)
    frame = pd.concat([chosen, keys.drop(columns=0)], axis=1).set_axis(names, axis=1)
    frame = frame.assign(**{k: v for k, v in row(1e-3, root=1e-6).items() if k not in names})
    frame["seconds_median"] = 1e-6 * (1 + frame.index % 997)
    frame["cell_id"] = frame.index.astype(str)
    folder = tmp_path_factory.mktemp("large")
    frame.to_csv(folder / "table.csv", index=False)
    return folder


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(
            ["--where", "size == 64 and precision == 'float32'"], marks=pytest.mark.exhaustive
        ),
        pytest.param(["--where", "'1e3' in problem"], marks=pytest.mark.exhaustive),
        [],
    ],
    ids=["sixth", "tenth", "all"],
)
@pytest.mark.timing
def test_a_table_of_100_000_rows_is_shown_in_two_seconds(large, flags):
    assert not too_slow(2.0, lambda: of_process("-m", "mssbench", "show", large, *flags))


@pytest.mark.exhaustive
@pytest.mark.timing
def test_the_time_of_show_does_not_grow_faster_than_the_table(large):
    from mssbench.analysis import blocks
    from mssbench.results import table

    frame = table.load(large)

    def spend(part):
        return of_call(lambda: blocks.blocks(part, ("method",), ("size", "problem")))

    spend(frame.head(1000))
    small, whole = (
        min(spend(part).cpu for _ in range(tries)) for part, tries in ((frame[::10], 3), (frame, 1))
    )
    assert whole < 25 * small + 0.2


def test_a_mistake_of_ours_has_an_exit_code_that_means_nothing_else(monkeypatch, small, capsys):
    def broken(*_):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("mssbench.cli.show.show", broken)
    code, out, err = called(capsys, "show", small)
    assert (code, out) == (70, "")
    assert "ZeroDivisionError: ours" in err
    assert "please report" in err


@pytest.mark.parametrize("command", ["run", "show", "claims", "list", "doctor", "merge"])
def test_every_command_explains_itself(capsys, command):
    code, out, err = called(capsys, command, "--help")
    assert (code, err) == (0, "")
    assert "Usage" in out


def test_version(capsys):
    import mssbench as package

    assert called(capsys, "--version") == (0, f"mssbench {package.__version__}\n", "")


QUICK_COMMANDS = {
    "help": ["--help"],
    "run help": ["run", "--help"],
    "show": ["show", "RUN"],
    "show json": ["show", "RUN", "--json", "--where", "size > 16"],
    "backends": ["list", "backends"],
    "backwards": ["list", "backwards"],
    "problems": ["list", "problems"],
    "suites": ["list", "suites"],
    "dry run": ["run", "quick", "--dry-run", "--only", "size == 64"],
}


def test_what_measures_nothing_imports_no_torch(small):
    """One process runs the commands in turn, and tells after which of them a package is there."""
    commands = {
        name: [str(small) if word == "RUN" else word for word in words]
        for name, words in QUICK_COMMANDS.items()
    }
    code = (
        "import sys; from mssbench.cli import main\n"
        f"for name, words in {commands!r}.items():\n"
        "    sys.argv = ['mssbench', *words]\n"
        "    try: main.main()\n"
        "    except SystemExit as stop: assert not stop.code, (name, stop.code)\n"
        "    heavy = {'torch', 'cupy', 'jax', 'scipy', 'sklearn', 'skimage'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_table_is_loaded_without_torch(small):
    code = (
        f"import sys, mssbench; f = mssbench.load({str(small)!r}); assert len(f) == 6\n"
        "assert not {'torch', 'cupy', 'scipy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run of one cell, in a process; its folder and what it said."""
    folder = tmp_path_factory.mktemp("measured")
    (folder / "tiny.toml").write_text(TINY)
    arguments = ["run", folder / "tiny.toml", "--out", folder / "run", "--effort", "smoke"]
    done = mssbench(*arguments, columns=200)
    return folder, done


def test_a_run_into_pipes_is_quiet_and_ends_with_its_table(measured):
    folder, done = measured
    assert done.returncode == 0, done.stderr
    assert CONTROL.search(done.stdout + done.stderr) is None
    # A machine that is busy is said to be, whoever makes it so; and a run that takes long on it
    # says every ten seconds where it is.
    of_busy_machines = re.compile(r"This machine is busy|\d+ s: ")
    said = [line for line in done.stderr.splitlines() if not of_busy_machines.match(line)]
    first, last = said[0], said[-1]
    assert re.fullmatch(r"tiny: 1 of 1 cell to measure, about \d+ s", first)
    assert re.fullmatch(
        rf"1 cell: 1 ok · \d+ s( \(.*\))? · (drift \d+ %( \(.*\))?, )?1 row \w+ · {folder}/run",
        last,
    )
    assert len(said) == 2
    assert "forward: torch/eigh takes" in done.stdout or "no other method was" in done.stdout


@pytest.mark.slow
def test_running_again_measures_nothing(measured):
    folder, _ = measured
    before = (folder / "run" / "table.csv").read_bytes()
    done = mssbench(
        "run",
        folder / "tiny.toml",
        "--out",
        folder / "run",
        "--effort",
        "smoke",
        "--json",
        columns=200,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["rows"][0]["status"] == "ok"
    assert done.stderr == f"nothing left to measure: 1 cell in {folder}/run\n"
    assert (folder / "run" / "table.csv").read_bytes() == before


@pytest.mark.parametrize("arguments", [["list", "problems"], ["list", "backends", "--json"]])
def test_a_reader_that_leaves_ends_nothing_badly(arguments):
    """As `| head -1` does; the pipe is closed before a byte is read."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mssbench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), err) == (0, "")


@pytest.mark.slow
def test_a_run_whose_reader_leaves_keeps_its_exit_code(measured):
    folder, _ = measured
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mssbench",
            "run",
            folder / "tiny.toml",
            "--out",
            folder / "run",
            "--effort",
            "smoke",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    assert "Traceback" not in err


def terminal(*arguments, columns=80):
    """Run the command line on a terminal of its own; exit code, and all it wrote there."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    settings = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "CI")}
    process = subprocess.Popen(
        [sys.executable, "-m", "mssbench", *map(str, arguments)],
        stdin=child,
        stdout=child,
        stderr=child,
        env=settings | {"TERM": "xterm-256color"},
    )
    os.close(child)
    seen = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # Linux says so when the last writer has left
            break
        if not part:
            break
        seen += part
    os.close(parent)
    return process.wait(timeout=60), seen.decode()


def screen(text, columns):
    """What stands on the terminal at the end: enough of a terminal for what rich writes."""
    lines, y, x = [[]], 0, 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\r":
            x = 0
        elif part == "\n":
            y += 1
            lines += [[] for _ in range(y + 1 - len(lines))]
        elif part.startswith("\x1b["):
            count = int(re.sub(r"\D", "", part) or 1)
            if part.endswith("A"):
                y = max(y - count, 0)
            elif part.endswith("K"):
                lines[y] = []
        else:
            assert len(part) + x <= columns, part
            lines[y] += [" "] * (x - len(lines[y]))
            lines[y][x : x + len(part)] = part
            x += len(part)
    return ["".join(line).rstrip() for line in lines]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("columns", [60, 100])
def test_progress_lives_on_a_terminal_and_leaves_no_trace(tmp_path, tiny, columns):
    python = stand_in(tmp_path, seconds=0.5)  # so long that the bar is drawn
    arguments = ["run", tiny, "--out", tmp_path / "run", "--effort", "smoke", "--python", python]
    code, text = terminal(*arguments, columns=columns)
    assert code == 0, text
    assert "\x1b[?25l" in text
    assert text.count("\x1b[?25h") >= text.count("\x1b[?25l") >= 1  # the cursor is back
    assert "━" in text  # the bar was there
    assert "torch/eigh sqrt" in text or columns == 60  # and the cell
    assert not re.search(r"(\x1b\[1A\x1b\[2K){2}", text)  # all of it on one line
    final = screen(text, columns)
    assert not [line for line in final if "━" in line or "n=4 b=2" in line]
    assert final[0].startswith("tiny: 1 of 1 cell to measure")
    assert any("1 ok" in line for line in final)


def test_a_table_on_a_narrow_terminal_fits_it(small):
    code, text = terminal("show", small, columns=60)
    assert code == 0
    final = screen(text, 60)
    assert sum(line.startswith("forward · sqrt") for line in final) == 2
    assert "  torch/eigh" in {line[:12] for line in final}
    assert "\x1b[1;32m1.00 ms (1.00x)" in text  # the best is bold


@pytest.mark.slow
def test_no_color_is_respected_on_a_terminal(small):
    parent, child = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "mssbench", "show", str(small)],
        stdout=child,
        stderr=child,
        env=os.environ | {"NO_COLOR": "1", "TERM": "xterm"},
    )
    os.close(child)
    text = os.read(parent, 65536).decode()
    os.close(parent)
    assert done.returncode == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)


def test_two_methods_with_parameters_are_two_rows(tmp_path, capsys):
    rows = [row(1e-3, root=1e-7, **NS), row(2e-3, root=1e-7, **NS | {"iterations": 7})]
    _, text, _ = called(capsys, "show", write(tmp_path / "r", *rows))
    assert "newton_schulz k=5 trace" in text
    assert "newton_schulz k=7 trace" in text


def test_a_run_on_a_gpu_ends_with_its_two_headline_clocks(tmp_path):
    """The clock of the caller decides, and what the device itself takes stands below."""
    both = ({"forward": "eigh"}, {"forward": "svd"})
    ways = (("wall", "hot"), ("gpu", "cold"), ("gpu", "hot"))
    rows = [
        row(1.0 + i, device="cuda", clock=clock, cache=cache, root=1e-6, **how)
        for i, how in enumerate(both)
        for clock, cache in ways
    ]
    rows += [
        row(None, device="cuda", clock="graph", status="unsupported", reason="it waits", **how)
        for how in both
    ]
    text = plain(run_.tables(write(tmp_path / "run", *rows)))
    assert "Forward alone · sqrt · n = 16 · batch 64 · float32 · cuda, wall clock" in text
    assert "Use eigh: right on these" in text or "Use eigh: of 2" in text
    assert "Forward alone, n = 16, batch 64, on the GPU's own clock: eigh" in text
    assert "unsupported" not in text


# What README shows.


def test_readme_shows_what_the_command_prints_of_the_run_that_is_kept(monkeypatch):
    text = (ROOT / "README.md").read_text()
    shown = text.split("mssbench run quick\n```", 1)[1].split("```\n", 1)[1].split("```", 1)[0]
    monkeypatch.delenv("COLUMNS", raising=False)
    assert plain(run_.tables(ROOT / "results" / "cpu-2core-quick")).strip() == shown.strip()


def test_a_dry_run_says_which_method_has_no_kernel_and_why(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    suite = tmp_path / "tiny.toml"
    suite.write_text(TINY.replace('"torch/eigh"', '"cupy/jacobi"'))
    for size, refused in ((4, False), (4096, True)):
        flags = ["--set", "device=cuda", "--set", f"size={size}", "--dry-run"]
        code, text, err = called(capsys, "run", suite, *flags)
        assert (code, err) == (0, "")
        said = [line for line in text.splitlines() if line.startswith("jacobi: no kernel: ")]
        assert len(said) == refused
        assert ("kernels on " in text) is not refused  # what serves is in a table
        assert not said or "none: " not in said[0]


@pytest.mark.parametrize("unlogged", ["errors.log cannot be written: it is [x].", ""])
def test_tracebacks_that_could_not_be_kept_are_said_at_the_end_of_a_run(
    tmp_path, capsys, monkeypatch, unlogged
):
    suite = tmp_path / "tiny.toml"
    suite.write_text(TINY)
    summary = Summary(tmp_path / "run", 1, statuses=Counter(crashed=1), seconds=1.0)
    summary.unlogged = unlogged
    monkeypatch.setattr(measuring, "run_suite", lambda *_, **__: summary)
    monkeypatch.setattr(run_, "tables", lambda _: [])
    code, _, err = called(capsys, "run", suite, "--out", tmp_path / "run")
    assert code == 6
    assert (err.splitlines()[-1] == unlogged) is bool(unlogged)
    assert ("cannot be written" in err) is bool(unlogged)
