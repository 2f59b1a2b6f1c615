"""`mssbench.run`: the command for notebooks, under the name of the package that it is made of."""

import inspect
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

import mssbench
from mssbench.cli import notebook
from mssbench.errors import RegistryError, RunError, SuiteError
from mssbench.records.summary import Summary

SUITE = """\
name = "small"
[axes]
size = [2, 3]
batch = 2
device = "cpu"
[[method]]
forward = "torch/eigh"
backward = ["none", "loewner"]
[measure]
min_seconds = 0
min_samples = 3
max_seconds = 0.05
warmup_seconds = 0
passes = 1
"""
# The package and the function have one name. Whatever is imported first, both must be there.
ORDERS = {
    "function first": "import mssbench\nfirst = mssbench.run\nimport mssbench.run.run\n"
    "assert mssbench.run is first",
    "package first": "import mssbench.run.run\nimport mssbench",
    "module of the package by name": "import mssbench.run.run as module\nassert module.run",
    "from the parent first": "from mssbench import run\nfrom mssbench.run import passes\n"
    "import mssbench\nassert run is mssbench.run and run.passes is passes",
    "from the package first": "from mssbench.run.run import run as inner\n"
    "from mssbench import run\nimport mssbench\nassert run is mssbench.run is not inner",
    "the command line first": "import mssbench.cli.run\nimport mssbench",
    "another public name first": "import mssbench\nmssbench.load\nmssbench.sqrtm",
}
AFTER = """
import mssbench.run.run, sys
from mssbench.errors import SuiteError
from mssbench.run.run import run as inner
assert mssbench.run.run.run is inner
assert mssbench.run is sys.modules["mssbench.run"]
try:
    mssbench.run("nonsense")
except SuiteError as error:
    assert "nonsense" in str(error)
else:
    raise AssertionError
"""


@pytest.mark.parametrize("order", ORDERS)
def test_function_and_package_are_there_in_every_order_of_imports(order):
    code = ORDERS[order] + AFTER
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_what_can_be_called_takes_what_the_function_takes():
    assert inspect.signature(mssbench.run) == inspect.signature(notebook.run)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("effrt", "Did you mean 'effort'?"),
        ("sett", "Did you mean 'set'?"),
        ("x", "Known: also, device,"),
    ],
)
def test_a_misspelt_argument_is_answered_with_the_nearest_right_one(name, words):
    with pytest.raises(TypeError) as caught:
        mssbench.run("quick", **{name: "rigorous"})
    assert str(caught.value).startswith(f"mssbench.run: Unknown argument {name!r}.")
    assert words in str(caught.value)


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SUITE)
    return path


@pytest.mark.slow
def test_the_rows_are_those_that_were_asked_for_and_progress_is_on_stderr(suite, tmp_path, capfd):
    out = tmp_path / "run"
    before = signal.getsignal(signal.SIGINT)
    rows = mssbench.run(suite, out=out, set={"seed": 1})
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "small: 4 of 4 cells to measure" in printed.err
    assert rows["method"].unique().tolist() == ["eigh", "eigh + loewner"]
    assert (rows["status"] == "ok").all()
    assert set(rows["seed"]) == {1}
    assert rows.equals(mssbench.load(out))

    fewer = mssbench.run(str(suite), out=str(out), set={"seed": 1}, only="size == 3")
    assert "nothing left to measure" in capfd.readouterr().err
    assert fewer.equals(rows[rows["size"] == 3].reset_index(drop=True))
    assert signal.getsignal(signal.SIGINT) is before


def test_options_are_those_of_the_command(suite, tmp_path, monkeypatch):
    """Matrices and methods of one's own, the folder by default, and what the measurement gets."""
    taken = {}

    def measure(chosen, path, **options):
        taken.update(options, chosen=chosen, path=path)
        raise RunError("seen")

    monkeypatch.setattr(notebook, "measure", measure)
    np.save(tmp_path / "cov.npy", np.eye(3)[None])
    mine = tmp_path / "mine.py"
    mine.write_text("")
    options = {"matrices": tmp_path / "cov.npy", "also": mine, "minutes": 2, "fresh": True}
    with pytest.raises(RunError, match="seen"):
        mssbench.run(suite, effort="rigorous", device="cpu", **options)
    assert taken["chosen"].name == "small-cov"
    assert str(taken["path"]) == "results/small-cov"
    assert {cell.size for cell in taken["chosen"].cells} == {3}
    assert taken["chosen"].measure["min_samples"] == 50
    assert (taken["minutes"], taken["fresh"], taken["also"]) == (2, True, [mine])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (8, "key=8"),
        ([8, 16], "key=8,16"),
        (range(2), "key=0,1"),
        (np.array([4, 8]), "key=4,8"),
        (np.float64(0.5), "key=0.5"),
        (1e-5, "key=1e-05"),
        (True, "key=true"),
        ("16:256:*2", "key=16:256:*2"),
        (["logspec(condition=1e6)", "convfeat"], "key=logspec(condition=1e6),convfeat"),
    ],
)
def test_values_are_spelled_as_the_command_line_has_them(value, text):
    assert notebook._override("key", value) == text


def folder_of_others(tmp_path):
    folder = tmp_path / "taken"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    return folder


WRONG = {
    "suite": ({"suite": "quik"}, SuiteError, "Did you mean 'quick'"),
    "key": ({"set": {"siez": 3}}, SuiteError, "Did you mean 'size'"),
    "value": ({"set": {"size": 0}}, SuiteError, "size = 0 is not a whole number"),
    "no value": ({"set": {"size": []}}, SuiteError, "write KEY=VALUE"),
    "condition": ({"only": "size > 99"}, SuiteError, "leaves none of the 4 cells"),
    "effort": ({"effort": "quik"}, SuiteError, "Did you mean 'quick'"),
    "minutes": ({"minutes": 0}, SuiteError, "minutes = 0 is not a number above 0"),
    "no number": ({"minutes": float("nan")}, SuiteError, "minutes = nan"),
    "file": ({"also": "gone.py"}, RegistryError, "there is no such Python file"),
    "key without matrices": ({"key": "a"}, SuiteError, "--matrices FILE"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_raised_and_nothing_is_measured(case, suite, tmp_path, capfd):
    given, kind, words = WRONG[case]
    with pytest.raises(kind, match=words):
        mssbench.run(**{"suite": suite, "out": tmp_path / "run"} | given)
    assert not (tmp_path / "run").exists()
    assert capfd.readouterr().out == ""


def test_a_folder_of_something_else_is_refused(suite, tmp_path):
    with pytest.raises(RunError, match="taken"):
        mssbench.run(suite, out=folder_of_others(tmp_path))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_an_error(suite, tmp_path):
    with pytest.raises(RunError, match="device cuda is not available"):
        mssbench.run(suite, device="cuda", out=tmp_path / "run")


def test_ctrl_c_is_raised_once_everything_is_saved(suite, tmp_path, monkeypatch):
    def measure(chosen, path, **_):
        return Summary(path, len(chosen.cells), interrupted=True)

    monkeypatch.setattr(notebook, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        mssbench.run(suite, out=tmp_path / "run")
