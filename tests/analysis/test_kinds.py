"""Problems go by the condition that was measured: in tables, in sentences, and in their order."""

import json
from math import inf, nan

import pytest
from helpers.tables import called, frame, row, write

from mssbench.analysis import conclusions, kinds
from mssbench.analysis.blocks import blocks
from mssbench.console.blocks import result
from mssbench.console.terminal import plain
from mssbench.records.noise import UNVERIFIED

# One name, and another condition at each size, as features of a network have.
CONVFEAT = {16: 6e2, 32: 2e4, 64: 1e11}


def rows(conditions, size=16, **given):
    """Two methods on each problem."""
    for problem, condition in conditions.items():
        for forward, seconds in (("eigh", 1e-3), ("svd", 5e-3)):
            yield row(
                seconds,
                forward=forward,
                problem=problem,
                condition=condition,
                size=size,
                root=1e-6,
                flags="",
                **given,
            )


@pytest.mark.parametrize(
    ("conditions", "precision", "words"),
    [
        ([42.4], "float32", "κ 42"),
        ([1.0e6, 1.02e6], "float32", "κ 1e6"),
        ([593.0, 1.8e4], "float32", "κ 593 to 2e4"),
        ([593.0, 1e11], "float32", "κ 593 to singular"),
        ([593.0, 1e11], "float64", "κ 593 to 1e11"),
        ([1e8], "float16", "singular"),
        ([None], "float64", "singular"),
    ],
)
def test_a_spectrum_is_said_by_its_condition(conditions, precision, words):
    made = [row(1.0, condition=c, precision=precision, seed=i) for i, c in enumerate(conditions)]
    assert str(kinds.spectrum(frame(*made))) == words


def test_a_spectrum_that_repeats_says_so_and_one_that_nobody_measured_says_nothing():
    clusters = row(1.0, condition=100.0, problem="clusters(m=4, gap=0, condition=100)")
    assert str(kinds.spectrum(frame(clusters))) == "κ 100, repeated"
    assert kinds.spectrum(frame(row(status="crashed", condition=None))) is None


def test_a_table_older_than_the_column_calls_nothing_singular():
    old = frame(row(1.0, condition=None)).assign(schema=3)
    assert kinds.spectrum(old) is None
    assert kinds.conditions(old) == {}
    assert [*kinds.conditions(frame(row(1.0, condition=None)))] == ["wishart(ratio=2)"]


def test_columns_of_problems_stand_by_condition_and_have_it_below_the_name():
    table = frame(*rows({"z": 10.0, "m": None, "a": 1e6}))
    (block,) = blocks(table, columns=("problem",))
    assert block.columns == [("z",), ("a",), ("m",)]
    lines = plain(result(table, [block])).splitlines()
    heads = [line.split() for line in lines[2:4]]
    assert heads[0] == ["z", "a", "m"]
    assert " ".join(heads[1]).replace(" root error", "") == "method κ 10 κ 1e6 singular"


def test_one_name_has_the_condition_of_each_size():
    made = [r for size, c in CONVFEAT.items() for r in rows({"convfeat": c, "z": 1e5}, size)]
    (block,) = blocks(frame(*made), columns=("size", "problem"))
    assert block.columns == [
        (16, "convfeat"),
        (16, "z"),
        (32, "convfeat"),
        (32, "z"),
        (64, "z"),
        (64, "convfeat"),
    ]
    said = [block.spectrum(("size", "problem"), key) for key in block.columns]
    assert said == ["κ 600", "κ 1e5", "κ 2e4", "κ 1e5", "κ 1e5", "singular"]


def test_rows_of_problems_stand_by_condition_and_then_the_fastest_first():
    made = [r for size, c in CONVFEAT.items() for r in rows({"convfeat": c, "z": 1e5}, size)]
    (block,) = blocks(frame(*made), rows=("problem", "method"))
    assert [*block.entries] == [
        ("z", "torch/eigh"),
        ("z", "torch/svd"),
        ("convfeat", "torch/eigh"),
        ("convfeat", "torch/svd"),
    ]
    text = plain(result(frame(*made), [block]))
    assert "convfeat · κ 600 to singular" in text
    assert "z · κ 1e5" in text


def test_a_problem_of_which_nothing_was_measured_stands_last_with_its_name_alone():
    crashed = [row(status="crashed", forward=f, problem="a") for f in ("eigh", "svd")]
    (block,) = blocks(frame(*crashed, *rows({"z": nan})), columns=("problem",))
    assert block.columns == [("z",), ("a",)]
    assert block.spectra[("z",)].hardest == inf
    assert block.spectrum(("problem",), ("a",)) == ""


def test_what_varies_inside_a_number_has_its_range_of_conditions():
    table = frame(*rows({"z": 10.0, "m": None, "a": 1e6}))
    text = plain(result(table, blocks(table)))
    assert "over problem (3, κ 10 to singular); --columns size,problem" in text


def test_a_conclusion_says_on_which_matrices_an_error_is_the_worst():
    (sentence,) = conclusions.conclusions(frame(*rows({"z": 10.0, "m": None, "a": 1e6})))
    assert (
        "(largest root error 1e-06, over easy κ 10, hard κ 1e6 and singular matrices)" in sentence
    )
    (sentence,) = conclusions.conclusions(frame(*rows({"z": 10.0})))
    assert "(root error 1e-06, on easy κ 10 matrices)" in sentence


def test_a_conclusion_is_about_the_size_that_it_names():
    made = [r for size, c in CONVFEAT.items() for r in rows({"convfeat": c}, size)]
    (sentence,) = conclusions.conclusions(frame(*made))
    assert sentence.startswith("forward, n = 64: ")
    assert "on singular matrices)" in sentence


def test_what_is_left_out_is_said_with_its_condition_where_it_was_measured():
    doubted = [r | {"flags": UNVERIFIED} for r in rows({"convfeat": 1e5})]
    never = [row(status="unsupported", forward=f, problem="q") for f in ("eigh", "svd")]
    (block,) = blocks(frame(*rows({"z": 10.0}), *doubted, *never))
    assert block.omissions() == [
        "left out at n = 16: convfeat (κ 1e5, unverified), q (unsupported)"
    ]
    (sentence,) = conclusions.conclusions(frame(*rows({"z": 10.0}), *doubted))
    assert "On convfeat (κ 1e5) no method is ranked" in sentence


def test_json_has_the_condition_of_each_place(tmp_path, capsys):
    lines = [
        row(1.0, problem="convfeat", size=size, condition=condition, backward="none")
        for size, condition in ((16, 6e2), (32, None))
    ]
    run = write(tmp_path / "run", *lines)
    _, out, _ = called(capsys, "show", run, "--json")
    found = {e["size"]: e["condition"] for b in json.loads(out)["blocks"] for e in b["entries"]}
    assert found == {
        16: {"least": 6e2, "largest": 6e2, "singular": False, "repeated": False},
        32: {"least": None, "largest": None, "singular": True, "repeated": False},
    }


def test_what_was_not_measured_has_no_condition_and_repeated_eigenvalues_are_said():
    made = frame(row(1.0, problem="clusters(m=4)", condition=50.0), row(status="timeout", size=64))
    known = kinds.Conditions(made)
    assert known.at({"problem": "clusters(m=4)"}) == {
        "least": 50.0,
        "largest": 50.0,
        "singular": False,
        "repeated": True,
    }
    assert known.at({"size": 64}) is None
