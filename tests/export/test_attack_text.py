"""Attacks by text: what a table, a suite or a method says is shown, and never obeyed."""

import csv
import io
import json
import os
import pty
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from helpers.tables import called, row, write
from hypothesis import example, given
from hypothesis import strategies as st

from mssbench.cli import export as command
from mssbench.compare.judgement import Judged, Judgement, RowPair
from mssbench.compare.verdict import Outcome, Verdict
from mssbench.console.terminal import make_console
from mssbench.export import FORMATS, github
from mssbench.export.markdown import escaped, row_of
from mssbench.records.cell import format_options, parse_options
from mssbench.records.units import harmless
from mssbench.results.labels import label, with_labels
from mssbench.results.table import typed

TITLE = "\x1b]0;owned\x07"  # sets the title of a terminal
CLEAR = "\x1b[2J\x1b[H"
C1 = "\x9b31m"  # the same as ESC [ where a terminal knows eight bits
BIDI = "safe\u202egnp.exe"
REWRITE = "bad\rgood"
HOSTILE = {
    "title": TITLE,
    "clear": CLEAR,
    "c1": C1,
    "bidi": BIDI,
    "rewrite": REWRITE,
    "delete": "a\x7f\x7fb",
    "null": "a\x00b",
    "backspace": "a\x08\x08b",
}
COMMANDS = {*map(chr, range(32))} - {*"\n\t"} | {*map(chr, range(0x7F, 0xA0))} | {"\u202e"}


def hostile_run(path: Path, text: str) -> Path:
    """A run whose every free text is hostile, and whose facts are."""
    reason = f"it said {text}"
    named = {"forward": f"eigh{text}", "options": f"norm={text}", "problem": f"wishart{text}"}
    run = write(
        path, row(1e-3, root=1e-6, **named), row(status="crashed", reason=reason, size=32, **named)
    )
    facts = {"environments": {"e" * 12: {"cpu": f"Alpha {text}"}}, "runs": {}}
    (run / "environment.json").write_text(json.dumps(facts))
    return run


def written(path: Path, text: str) -> Path:
    """The same with the text put into the file itself, past what our own writer would replace."""
    run = hostile_run(path, "@@@")
    file = run / "table.csv"
    rows = list(csv.reader(io.StringIO(file.read_text())))
    with file.open("w", newline="") as out:
        words = [[x.replace("@@@", text) for x in line] for line in rows]
        csv.writer(out, lineterminator="\n").writerows(words)
    facts = (run / "environment.json").read_text()
    (run / "environment.json").write_text(facts.replace("@@@", json.dumps(text)[1:-1]))
    return run


@pytest.mark.sampled(2)
@pytest.mark.parametrize("attack", HOSTILE)
def test_attack_no_command_to_a_terminal_comes_out_of_a_table(
    tmp_path: Path, attack: str, capsys: Any
) -> None:
    run = written(tmp_path / "run", HOSTILE[attack])
    other = written(tmp_path / "other", HOSTILE[attack])
    (other / "table.csv").write_text((run / "table.csv").read_text().replace(",ok,", ",nonfinite,"))
    for words in (
        ("show", run),
        ("show", run, "--json"),
        ("show", run, "--where", "size > 99"),
        ("compare", run, other, "--display", "explain"),
        ("check", other, "--baseline", run),
        ("check", other, "--baseline", run, "--json", "--github"),
        ("recommend", "--size", "16", "--batch", "64", run),
    ):
        _, out, err = called(capsys, *words)
        assert out or err
        assert not COMMANDS & {*out, *err}, (words, out, err)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("to", ["csv", "markdown", "json"])
def test_attack_an_export_on_a_terminal_holds_no_command(tmp_path: Path, to: str) -> None:
    """Into a file or a pipe the text of a CSV goes as it is; on a terminal nothing is obeyed."""
    run = written(tmp_path / "run", CLEAR)
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "mssbench", "export", str(run), "--to", to],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(theirs)
        found = b""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not data:
                break
            found += data
    os.close(ours)
    assert process.returncode == 0
    assert b"eigh" in found
    assert b"\x1b" not in found


@given(st.text())
@example(TITLE + CLEAR + C1 + BIDI)
def test_attack_a_console_shows_no_text_as_a_command(text: str) -> None:
    console = make_console()
    with console.capture() as captured:
        console.print(text, markup=False)
    assert not COMMANDS & {*captured.get()}
    assert not COMMANDS & {*harmless(text)}


NASTY = st.text(st.characters(codec="utf-8"), max_size=20)


@given(NASTY, NASTY, NASTY)
@example("\ufffe", "\x00\x1b", "]]>")
@example("&<>\"'", "\ud7ff\ue000", "\U0001f4a9")
def test_attack_junit_is_well_formed_whatever_a_method_is_called(
    name: str, reason: str, problem: str
) -> None:
    from mssbench.export import Exported
    from mssbench.export.junit import text

    made = row(status="crashed", forward=name, problem=problem) | {"reason": reason}
    what = Exported(name, [made | {"method": name}], {"environments": {}, "runs": {}}, {})
    root = ET.fromstring("".join(text(what)).encode())
    assert len(list(root.iter("testcase"))) == 1


def test_attack_junit_of_times_that_are_no_numbers_has_numbers(tmp_path: Path) -> None:
    made = [row(1e-3) | {"seconds_median": x} for x in (float("inf"), float("nan"))]
    run = write(tmp_path / "run", made[0], made[1] | {"seed": 1})
    found = ET.fromstring(command.exported(run, "junit", None))
    assert {case.get("time") for case in found.iter("testcase")} == {"0.000000000"}


MARKS = {
    "cell": "a | b",
    "code": "`x`",
    "link": "[x](https://evil)",
    "image": "![x](http://evil/x.png)",
    "html": "<script>alert(1)</script>",
    "address": "see https://evil.example/x",
    "www": "www.evil.example",
    "mention": "@everyone",
    "issue": "#123",
    "entity": "&lt;img&gt;",
    "formula": "$\\href{x}{y}$",
    "bold-cell": "**x** | <b>",
    "rule-cell": "--- | x",
    "break": "a\n\n# heading",
    "bidi": BIDI,
}
LIVE = ("](", "<", "://", "www.", "@", "\u202e", "\n")


@pytest.mark.parametrize("mark", MARKS)
def test_attack_markdown_shows_a_name_as_it_is(mark: str) -> None:
    line = row_of(["ok", MARKS[mark]])
    assert line.replace("\\|", "").count("|") == 3
    bare = line
    for character in "\\|`[]*_~$#":
        bare = bare.replace(f"\\{character}", "")
    assert not [live for live in LIVE if live in bare]
    assert "`" not in bare
    assert "$" not in bare
    assert escaped(MARKS[mark]) in line


@pytest.mark.parametrize("mark", MARKS)
def test_attack_a_step_summary_shows_a_name_as_it_is(
    mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = MARKS[mark]
    pair = RowPair(row(1.0, forward=text), row(status="crashed", forward=text))
    both = [None if r is None else {**r, "method": text} for r in pair]
    judged = Judged(
        (Judgement(RowPair(*both), Verdict.BROKEN, text),), Outcome.BROKEN, remarks=(text,)
    )
    summary, outputs = tmp_path / "summary", tmp_path / "outputs"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    lines = github.report("mssbench check", judged, 4)
    table = [line for line in summary.read_text().splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {8}
    assert "](" not in summary.read_text().replace("\\]", "")
    assert len(lines) == 1
    assert "\n" not in lines[0]


# Options


VALUES = (
    st.text()
    | st.sampled_from(["7", "true", "null", "a b", "", "NaN", "1e5", '"', '"a', "a=b", "\\", "[]"])
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
)
NAMES = st.from_regex(r"[a-z_][a-z_0-9]{0,8}", fullmatch=True)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
@example({"a": "a b", "b": "7", "c": "true", "d": "", "e": "\ud800", "f": '" x="'})
def test_attack_options_come_back_whatever_they_are(options: dict[str, Any]) -> None:
    back = parse_options(format_options(options))
    assert back == options
    assert {k: type(v) for k, v in back.items()} == {k: type(v) for k, v in options.items()}


@given(st.text())
@example("[" * 10_000)
@example("=" * 2000 + ' "')
@example("word another")
def test_attack_the_options_of_a_table_may_be_any_text(text: str) -> None:
    assert isinstance(parse_options(text), dict)
    assert label(row(1.0) | {"options": text})


@pytest.mark.sampled(2)
@pytest.mark.parametrize("options", ["a b", "norm", '="', "[" * 5000, "a=b c", '"'])
def test_attack_a_table_with_odd_options_is_shown_and_exported(
    tmp_path: Path, options: str, capsys: Any
) -> None:
    run = write(tmp_path / "run", row(1e-3, root=1e-6) | {"options": options})
    assert called(capsys, "show", run)[0] == 0
    for to in FORMATS:
        assert called(capsys, "export", run, "--to", to)[0] == 0, to
    assert called(capsys, "check", run, "--baseline", run)[0] == 0


def test_attack_words_that_are_numbers_are_kept_by_a_whole_run(
    tmp_path: Path, register: Any
) -> None:
    """A parameter of a user's method, whose choices look like other types."""
    from typing import Literal

    from mssbench.methods.method import Root
    from mssbench.suite import suite as suites

    def odd(a: Any, *, mode: Literal["7", "true", "a b", ""] = "7") -> Root:
        return Root(sqrt=a)

    register["forward"](
        cite="me", products=lambda mode: 1.0, libraries=("numpy",), yields=("sqrt",)
    )(odd)
    file = tmp_path / "odd.toml"
    file.write_text(
        'name = "odd"\n[axes]\nsize = 4\nbatch = 2\ndevice = "cpu"\n'
        '[[method]]\nforward = "numpy/odd"\nmode = ["7", "true", "a b", ""]\n'
    )
    cells = suites.load(file, auto="cpu").cells
    assert [c.parameters["mode"] for c in cells] == ["7", "true", "a b", ""]
    assert len({label(vars(c)) for c in cells}) == 4


# Labels


TWINS = {
    "default-apart": ("a=default b=x", "a=x b=default"),
    "word-and-number": ('a="5"', "a=5"),
    "word-and-truth": ('a="true"', "a=true"),
    "word-with-name": ('a="b=5"', "b=5"),
    "word-with-steps": ("a=k=5", ""),
    "names-changed": ("a=x", "b=x"),
    "blank": ('a="x y"', "a=x b=y"),
    "empty": ('a=""', ""),
    "odd": ("word", 'word=""'),
    "dropped": ("a=default", ""),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("twins", TWINS)
def test_attack_no_two_methods_of_a_table_share_a_label(
    twins: str, tmp_path: Path, capsys: Any
) -> None:
    import pandas as pd

    rows = [row(1e-3, iterations=5), *(row(2e-3, options=o, root=1e-6) for o in TWINS[twins])]
    rows = [each for i, each in enumerate(rows) if i == 0 or each["options"] != rows[0]["options"]]
    frame = with_labels(typed(pd.DataFrame(rows)))
    assert frame["method"].is_unique, frame["method"].tolist()

    run = write(tmp_path / "run", *rows)
    found = json.loads(command.exported(run, "bencher", None))
    assert len(found) == len(rows)
    found = json.loads(command.exported(run, "github-action-benchmark", None))
    assert len({entry["name"] for entry in found}) == len(found)
    code, out, err = called(capsys, "check", run, "--baseline", run)
    assert (code, f"rows={len(rows)}" in out) == (0, True), err


def test_attack_a_forward_named_as_a_pair_is_not_that_pair() -> None:
    import pandas as pd

    rows = [row(1.0, backward="loewner", phase="step"), row(1.0, forward="eigh + loewner")]
    assert with_labels(typed(pd.DataFrame(rows)))["method"].is_unique


@pytest.mark.slow
@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "backward_a"]), VALUES, max_size=3),
        min_size=2,
        max_size=5,
    )
)
def test_attack_labels_of_any_options_tell_methods_apart(options: list[dict[str, Any]]) -> None:
    import pandas as pd

    texts = list(dict.fromkeys(map(format_options, options)))
    rows = [row(1.0, backward="loewner", phase="step") | {"options": o} for o in texts]
    assert with_labels(typed(pd.DataFrame(rows)))["method"].is_unique


def test_attack_a_rich_markup_in_a_name_is_no_style(tmp_path: Path, capsys: Any) -> None:
    name = "[red]x[/red][link=http://evil]y[/link]"
    run = write(
        tmp_path / "run",
        row(1e-3, forward=name, root=1e-6),
        row(status="crashed", reason=name, forward=name, size=32),
    )
    _, out, _ = called(capsys, "show", run)
    assert "[red]x" in out.replace("\n", "")
    _, _, err = called(capsys, "show", run, "--where", f"forward == '{name[:5]}'")
    assert "Traceback" not in err
