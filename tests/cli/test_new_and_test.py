"""`mssbench new` writes a method that works, and `mssbench test` says what a method breaks."""

import json
from pathlib import Path

import pytest
from helpers.tables import called

from mssbench.methods import pair, registry


@pytest.fixture(autouse=True)
def _forget():
    pair._pair.cache_clear()  # it would hand out the method that another test has changed
    with registry.temporarily():
        yield
    pair._pair.cache_clear()


@pytest.fixture
def file(tmp_path, capsys):
    path = tmp_path / "example_root.py"
    assert called(capsys, "new", path)[0] == 0
    return path


def broken(capsys, file, *words):
    code, out, _ = called(capsys, "test", file, "--json", *words)
    rows = json.loads(out)["rows"]
    return code, {c["contract"] for c in rows if c["failure"]}, rows


def test_the_example_keeps_every_property_with_each_library(capsys, file):
    code, failures, found = broken(capsys, file)
    assert (code, failures) == (0, set())
    assert {(c["library"], c["function"]) for c in found} == {
        (library, function) for library in ("torch", "numpy") for function in ("sqrt", "isqrt")
    }
    assert len(found) > 40


@pytest.mark.parametrize(
    ("before", "after", "contract"),
    [
        ("Root(sqrt=y * scale,", "Root(sqrt=y * scale * 1.000001,", "root_and_gradient_are_exact"),
        (
            "Root(sqrt=y * scale,",
            "Root(sqrt=y * abs(scale).mean(),",
            "a_batch_of_one_is_an_element_of_a_batch",
        ),
        (
            "Root(sqrt=y * scale,",
            "Root(sqrt=(y * scale)[..., :1],",
            "results_are_arrays_like_the_input",
        ),
        ("SIAM 2008", "somewhere", "forward-cites"),
        ("4.0 * iterations", "float('nan')", "forward-has_a_finite_cost"),
        ("(..., n, n)", "some matrices", "forward-documents"),
    ],
)
def test_what_a_change_breaks_is_named(capsys, file, before, after, contract):
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    code, failures, _ = broken(capsys, file)
    assert code == 1
    assert contract in failures


def test_too_few_steps_are_told_with_how_far_off_they_are(capsys, file):
    code, out, _ = called(capsys, "test", file, "--set", "iterations=2")
    words = " ".join(out.split())
    assert code == 1
    assert "the root is wrong by" in words
    assert "give it enough steps with --set" in words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["new", "eigh.py"], "mssbench has a method 'eigh' already"),
        (["new", "a-b.py"], "'a-b' cannot be the name of a Python function"),
        (["new", "class.py"], "'class' cannot be the name of a Python function"),
        (["new", "root.txt"], "root.txt is no Python file: choose root.py"),
        (["new", "nowhere/root.py"], "there is no folder nowhere"),
        (["test", "gone.py"], "there is no file gone.py"),
        (["test", "empty.py"], "empty.py registers no method"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    capsys, tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.py").write_text("")
    code, out, err = called(capsys, *words)
    assert (code, out) == (2, "")
    assert said in err
    # Python writes compiled code beside a file that it loads
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"empty.py"}


def test_a_file_that_exists_is_left_as_it_is(capsys, file):
    before = file.read_text() + "# mine\n"
    file.write_text(before)
    code, _, err = called(capsys, "new", file)
    assert code == 2
    assert "exists already and was not changed" in err
    assert file.read_text() == before


@pytest.mark.parametrize("text", ["iterations", "=3", "iterations="])
def test_a_parameter_without_a_value_is_refused(capsys, file, text):
    code, _, err = called(capsys, "test", file, "--set", text)
    assert code == 2
    assert "write NAME=VALUE" in err


def test_a_file_whose_properties_cannot_be_tested_here_is_no_success(capsys, file):
    text = file.read_text()
    file.write_text(
        text.replace('yields=("sqrt", "isqrt")', 'libraries=("cupy",), yields=("sqrt",)')
    )
    code, out, err = called(capsys, "test", file)
    assert (code, out) == (2, "")
    assert "could be tested" in err


@pytest.mark.parametrize("name", ["forward/eigh", "backward/lyapunov_newton_schulz"])
def test_the_file_of_a_method_of_mssbench_itself_can_be_tested(capsys, name):
    file = Path(registry.__file__).parent / f"{name}.py"
    code, failures, found = broken(capsys, file)
    assert (code, failures) == (0, set())
    assert {c["method"] for c in found} == {file.stem}
    assert len(found) > 40


def test_a_file_of_mssbench_without_a_method_is_no_success(capsys):
    code, _, err = called(capsys, "test", Path(registry.__file__).parent / "minimax.py")
    assert code == 2
    assert "registers no method" in err
