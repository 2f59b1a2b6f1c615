"""A wrong word is answered with the right one, and the help has every default."""

import pytest
from helpers.runs import write_suite
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
        (("selftest",), "cuda if there is one, else cpu"),
        (("export",), "stdout"),
        (("baseline", "save"), "the name of its suite"),
    ],
)
def test_the_help_of_an_option_has_its_default(capsys, monkeypatch, command, default) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    _, out, _ = called(capsys, *command, "--help")
    assert "default: " in out
    assert default in out


OWN = "If it is your own, name its file: --also FILE.py."


@pytest.mark.parametrize("named", ["torch/mine_of_hints", "mine_of_hints"])
@pytest.mark.parametrize("option", [("--dry-run",), ()])
def test_an_unknown_method_of_a_suite_may_be_in_a_file_of_the_user(
    tmp_path, capsys, named, option
) -> None:
    suite = write_suite(tmp_path, f'forward = "{named}"')
    code, out, err = called(capsys, "run", suite, "--out", tmp_path / "run", *option)
    assert (code, out) == (2, "")
    assert "mine_of_hints'." in err
    assert err.endswith(f" {OWN}\n")


@pytest.mark.parametrize(
    "words",
    [
        ("ab", "SUITE", "--base", "x", "--new", "y"),
        ("run", "quick", "--set", "problem=mine_of_hints"),
        ("run", "SUITE", "--set", "problem=wishart(ratio=4)|mine_of_hints"),
    ],
)
def test_so_may_one_that_ab_or_an_option_names(tmp_path, capsys, words) -> None:
    suite = write_suite(tmp_path, 'forward = "torch/eigh"\nbackward = "mine_of_hints"')
    code, _, err = called(capsys, *[suite if word == "SUITE" else word for word in words])
    assert code == 2
    assert "Unknown " in err
    assert err.endswith(f" {OWN}\n")


def test_a_wrong_word_that_no_file_could_bring_has_no_such_hint(tmp_path, capsys) -> None:
    for line in ('forward = "pytorch/eigh"', 'forward = "torch/svd"\ndriver = "gesvdk"'):
        code, _, err = called(capsys, "run", write_suite(tmp_path, line), "--dry-run")
        assert code == 2
        assert "--also" not in err
