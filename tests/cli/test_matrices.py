"""`run --matrices FILE`: a suite on matrices of one's own, from the command line."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.runs import write_suite
from helpers.tables import called

from mssbench.cli import ab
from mssbench.compare.judgement import Judged
from mssbench.compare.verdict import Outcome
from mssbench.results.rows import read_rows

RNG = np.random.default_rng(3)
# What a suite may have that means nothing for other matrices.
CLAIM = """
[[exclude]]
problem = "wishart(ratio=4)"
size = 4
[[claim]]
claim = "eigh takes less than a day"
source = "nobody"
value = "seconds_median"
left = "forward == 'eigh' and size == 4 and problem == 'wishart(ratio=4)'"
relation = "<"
right = 86400
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    x = RNG.normal(size=(5, 6, 30))
    a = x @ x.swapaxes(1, 2) / 30
    np.save("cov.npy", (a + a.swapaxes(1, 2)) / 2)
    write_suite(tmp_path, 'forward = "numpy/eigh"\nbackward = ["none", "loewner"]')
    return tmp_path


@pytest.mark.slow
def test_a_run_measures_the_matrices_of_a_file_and_resumes(capsys) -> None:
    code, out, err = called(capsys, "run", "tiny.toml", "--matrices", "cov.npy")
    assert code == 0, err
    assert err.startswith("cov.npy: 5 matrices of 6 × 6, float64, condition about ")
    assert "n = 6" in out

    rows = read_rows(Path("results/tiny-cov/table.csv"))
    assert {row["status"] for row in rows} == {"ok"}
    assert {(row["size"], row["batch"]) for row in rows} == {("6", "5")}
    (problem,) = {row["problem"] for row in rows}
    assert problem.startswith("file(path=cov.npy, kind=matrices, digest=")

    code, _, err = called(capsys, "run", "tiny.toml", "--matrices", "cov.npy")
    assert code == 0
    assert "nothing left to measure: 2 cells" in err

    np.save("cov.npy", np.load("cov.npy") * 2)
    code, _, err = called(capsys, "run", "tiny.toml", "--matrices", "cov.npy", "--json")
    assert code == 0, err
    rows = read_rows(Path("results/tiny-cov/table.csv"))
    assert len({row["problem"] for row in rows}) == 2  # the rows of both files stay apart


def test_a_suite_may_name_a_file_and_says_what_it_reads(capsys) -> None:
    arguments = ("--set", "problem=file(path=cov.npy)", "--set", "size=6", "--dry-run")
    code, _, err = called(capsys, "run", "tiny.toml", *arguments)
    assert code == 0, err
    assert err.startswith("cov.npy: 5 matrices of 6 × 6")


@pytest.mark.slow
def test_a_file_that_has_changed_is_a_row_that_says_so(capsys) -> None:
    problem = "file(path=cov.npy, kind=matrices, digest=0123456789abcdef)"
    arguments = ("--set", f"problem={problem}", "--set", "size=6", "--only", "backward == 'none'")
    code, _, err = called(capsys, "run", "tiny.toml", *arguments)
    assert code == 6  # nothing could be measured
    assert "cov.npy has changed: its digest is " in err
    (row,) = read_rows(Path("results/tiny/table.csv"))
    assert (row["status"], row["problem"]) == ("unsupported", problem)
    assert row["reason"].startswith("cov.npy has changed: its digest is ")


@pytest.mark.sampled(slow=1)
@pytest.mark.slow
@pytest.mark.parametrize("deed", ["changed", pytest.param("removed", marks=pytest.mark.slow)])
def test_a_file_that_is_the_right_one_again_is_measured_again(capsys, deed: str) -> None:
    def run() -> tuple[int, str, list[dict[str, str]]]:
        code, _, err = called(capsys, "run", "tiny.toml", *arguments)
        return code, err, read_rows(Path("results/tiny/table.csv"))

    right = Path("cov.npy").read_bytes()
    digest = hashlib.sha256(right).hexdigest()[:16]
    problem = f"file(path=cov.npy, kind=matrices, digest={digest})"
    arguments = ("--set", f"problem={problem}", "--set", "size=6", "--only", "backward == 'none'")
    if deed == "changed":
        np.save("cov.npy", np.load("cov.npy") * 2)
    else:
        Path("cov.npy").unlink()
    code, _, (row,) = run()
    assert (code, row["status"]) == (6, "unsupported")
    assert run()[2] == [row]  # it is no other now, and was not tried: its run is the first one

    Path("cov.npy").write_bytes(right)
    code, _, (row,) = run()
    assert (code, row["status"], row["problem"]) == (0, "ok", problem)
    assert "nothing left to measure" in run()[1]


@pytest.mark.slow
def test_what_a_method_itself_cannot_do_with_a_file_is_not_tried_again(capsys) -> None:
    path = Path("tiny.toml")  # closed_form takes size 2 only
    path.write_text(path.read_text().replace("numpy/eigh", "numpy/closed_form"))
    arguments = ("--matrices", "cov.npy", "--only", "backward == 'none'")
    code, _, _ = called(capsys, "run", "tiny.toml", *arguments)
    (row,) = read_rows(Path("results/tiny-cov/table.csv"))
    assert (code, row["status"]) == (6, "unsupported")
    called(capsys, "run", "tiny.toml", *arguments)
    assert read_rows(Path("results/tiny-cov/table.csv")) == [row]  # with the id of the first run


def planned(capsys, *arguments: str) -> tuple[int, str, int]:
    """Exit code, stderr and number of cells of a dry run."""
    code, out, err = called(capsys, "run", "tiny.toml", "--dry-run", "--json", *arguments)
    return code, err, json.loads(out)["cells"] if code == 0 else 0


def test_a_larger_batch_wraps_and_says_so(capsys) -> None:
    code, err, cells = planned(capsys, "--matrices", "cov.npy", "--set", "batch=2,8")
    assert (code, cells) == (0, 4)
    assert err.endswith("; a batch of 8 starts again from the first after 5\n")


@pytest.mark.slow
def test_claims_and_exclusions_of_other_matrices_do_no_harm(capsys) -> None:
    path = Path("tiny.toml")
    path.write_text(path.read_text() + CLAIM)
    assert called(capsys, "run", "tiny.toml", "--dry-run")[0] == 2  # all is excluded
    path.write_text(path.read_text().replace("size = 4\n[[claim]]", "size = 5\n[[claim]]"))
    code, err, cells = planned(capsys, "--matrices", "cov.npy")
    assert (code, cells) == (0, 2), err
    arguments = ("tiny.toml", "--matrices", "cov.npy", "--only", "backward == 'none'", "--out", "x")
    code, _, err = called(capsys, "run", *arguments)
    assert code == 0, err
    code, out, err = called(capsys, "claims", "x")
    assert "not measured" in out
    assert "Traceback" not in err


def test_a_method_s_own_problem_size_and_batch_are_replaced(capsys) -> None:
    path = Path("tiny.toml")
    own = 'forward = "numpy/eigh"\nproblem = "identity"\nsize = [3, 4]\nbatch = 7'
    path.write_text(path.read_text().replace('forward = "numpy/eigh"', own))
    assert planned(capsys, "--matrices", "cov.npy")[2] == 2


def test_a_key_and_a_kind_say_how_a_file_is_read(capsys) -> None:
    np.savez("two.npz", x=RNG.normal(size=(3, 4, 4)), y=np.eye(2))
    code, err, _ = planned(capsys, "--matrices", "two.npz", "--key", "y")
    assert (code, err[:32]) == (0, "two.npz: 1 matrix of 2 × 2, floa")
    arguments = ("--matrices", "two.npz", "--key", "x", "--kind", "features")
    code, err, _ = planned(capsys, *arguments)
    assert (code, err[:60]) == (0, "two.npz: 3 matrices of 4 × 4, covariance of 4 samples each, ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--matrices", "cov.npz"], "--matrices: there is no file 'cov.npz' in "),
        (["--matrices", "cob.npy"], "--matrices: there is no file 'cob.npy' in "),
        (["--matrices", "cov.txt"], "--matrices: there is no file 'cov.txt' in "),
        (["--matrices", "tiny.toml"], "--matrices: tiny.toml: Unknown ending '.toml'."),
        (
            ["--matrices", "two.npz"],
            "--matrices: two.npz holds 2 arrays: first, second. Choose one by key=NAME, or "
            "--key NAME.",
        ),
        (
            ["--matrices", "two.npz", "--key", "frist"],
            "--matrices: Unknown array of two.npz 'frist'. Did you mean 'first'?",
        ),
        (
            ["--matrices", "cov.npy", "--kind", "feature"],
            "--kind: Unknown kind 'feature'. Did you mean 'features'? Known: features, matrices.",
        ),
        (["--key", "x"], "--key needs the file that it applies to: --matrices FILE."),
        (["--kind", "features"], "--kind needs the file that it applies to: --matrices FILE."),
        (
            ["--matrices", "cov.npy", "--set", "size=4"],
            "--set size=4: --matrices has a size of its own. Leave out one.",
        ),
        (
            ["--matrices", "cov.npy", "--set", "problem=identity"],
            "--set problem=identity: --matrices has a problem of its own. Leave out one.",
        ),
        (["--matrices", "bad.npy"], "--matrices: bad.npy: matrix 1 is indefinite: "),
        (["--matrices", "x.h5"], "--matrices: x.h5: reading it needs h5py: pip install "),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    capsys, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    np.savez("two.npz", first=np.eye(2), second=np.eye(3))
    np.save("bad.npy", np.stack([np.eye(2), -np.eye(2)]))
    Path("x.h5").write_bytes(b"anything")
    code, out, err = called(capsys, "run", "tiny.toml", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"mssbench: {words}")
    assert err.count("\n") == 1


def test_ab_takes_matrices_too(capsys) -> None:
    arguments = ("--base", "numpy/eigh", "--new", "numpy/svd", "--matrices", "gone.npy")
    code, _, err = called(capsys, "ab", "tiny.toml", *arguments)
    assert (code, "there is no file 'gone.npy'" in err) == (2, True)


def test_ab_says_what_it_has_read_of_them(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ab, "compare", lambda *_: Judged((), Outcome.PASS))
    arguments = ("--base", "x", "--new", "y", "--matrices", "cov.npy")
    code, out, err = called(capsys, "ab", "tiny.toml", *arguments, "--json")
    assert (code, json.loads(out)["verdict"]) == (0, "pass")
    assert err.startswith("cov.npy: 5 matrices of 6 × 6, float64, condition about ")
    assert called(capsys, "ab", "tiny.toml", "--base", "x", "--new", "y")[2] == ""
