"""A wrong word is answered with the right one, and the help has every default."""

import pytest
from helpers.tables import called, row, write

from mssbench.errors import nearest

PRECISIONS = ["float64", "float32", "tf32", "bfloat16", "float16"]


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("fp32", PRECISIONS, "float32"),
        ("FP64", PRECISIONS, "float64"),
        ("bf16", PRECISIONS, "bfloat16"),
        ("half", PRECISIONS, "float16"),
        ("gpu", ["auto", "cpu", "cuda"], "cuda"),
        ("time", ["spread", "limit_seconds", "seconds_median"], "seconds_median"),
        ("gpu", ["wall", "cold"], None),  # where the word that is meant is none of the known
        ("floot32", PRECISIONS, "float32"),
    ],
)
def test_what_is_meant_comes_before_what_looks_alike(word, known, meant) -> None:
    assert nearest(word, known) == meant


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("phase == step", "step is no column but a text: quote it, 'step'."),
        ("phase = 'step'", "write == to compare"),
        ("size >= 16 and phase = 'step'", "write == to compare"),
        ("size >", "not an expression: invalid syntax"),
        ("phese == 'step'", "Did you mean 'phase'?"),
    ],
)
def test_a_condition_that_cannot_be_read_says_what_to_write(
    tmp_path, capsys, condition, hint
) -> None:
    run = write(tmp_path / "run", row(1e-3))
    code, _, err = called(capsys, "show", run, "--where", condition)
    assert code == 2
    assert hint in " ".join(err.split())


@pytest.mark.parametrize(
    ("command", "default"),
    [
        (("run",), "results/SUITE"),
        (("selftest",), "what is here"),
        (("export",), "stdout"),
        (("baseline", "save"), "the name of its suite"),
    ],
)
def test_the_help_of_an_option_has_its_default(capsys, monkeypatch, command, default) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    _, out, _ = called(capsys, *command, "--help")
    assert "default: " in out
    assert default in out
