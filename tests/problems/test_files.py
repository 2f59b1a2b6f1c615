"""The problem `file`: batches, sizes, digests and paths."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.own_files import RNG, A, made, refusal
from hypothesis import given
from hypothesis import strategies as st

from mssbench import problems
from mssbench.errors import Unsupported
from mssbench.problems import files
from mssbench.problems.text import quoted


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in a folder of its own, which relative paths start at."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def saved(name: str, **arrays: np.ndarray) -> str:
    np.savez(name, **arrays)
    return f"file(path={name})"


# Batches and sizes


def test_a_batch_is_a_prefix_and_a_larger_one_starts_again() -> None:
    g = RNG.normal(size=A.shape)
    text = problems.canonical(saved("x.npz", matrices=A, cotangent=g))
    whole, small, large = (made(text, batch=b) for b in (3, 2, 7))
    np.testing.assert_array_equal(small.master, whole.master[:2])
    np.testing.assert_array_equal(large.master, whole.master[[0, 1, 2, 0, 1, 2, 0]])
    np.testing.assert_array_equal(large.cotangent, whole.cotangent[[0, 1, 2, 0, 1, 2, 0]])
    for batches, said in (([3], False), ([2, 7], True)):
        words = problems.describe(text, batches) or ""
        assert words.endswith("a batch of 7 starts again from the first after 3") is said


def test_another_size_is_refused_with_a_reason() -> None:
    np.save("x.npy", A)
    text = problems.canonical("file(path=x.npy)")
    assert problems.check_size(text, 4) is None
    assert problems.check_size(text, 5) == "x.npy holds matrices of size 4 only"
    with pytest.raises(Unsupported, match="holds matrices of size 4 only"):
        made(text, size=5)


def test_modifiers_follow_a_file_as_any_problem() -> None:
    np.save("x.npy", A)
    np.testing.assert_array_equal(made("file(path=x.npy)|scale(0.5)").master, A / 2)


def test_the_master_is_read_only_and_so_is_what_is_kept() -> None:
    np.save("x.npy", A)
    with pytest.raises(ValueError, match="read-only"):
        made("file(path=x.npy)").master[0, 0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        files.load("x.npy", "", "auto", "").matrices[0, 0, 0] = 1


# Digests and paths


def test_two_files_under_one_path_are_two_problems() -> None:
    np.save("x.npy", A)
    before = problems.canonical("file(path=x.npy)")
    made(before)
    np.save("x.npy", 2 * A)  # at once, and of the same size
    after = problems.canonical("file(path=x.npy)")
    assert before != after
    np.testing.assert_array_equal(made(after).master, 2 * A)

    problems._make.cache_clear()
    reason = problems.check_size(before, 4)
    then, now = (text.rpartition("digest=")[2].rstrip(")") for text in (before, after))
    assert reason == (
        f"x.npy has changed: its digest is {now}, not {then}. Leave the digest out to "
        "measure its present matrices"
    )
    with pytest.raises(Unsupported, match="has changed"):
        made(before)
    assert problems.canonical(before) == before


def test_a_settled_file_is_hashed_once_and_a_young_one_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = []
    read = files._bytes
    monkeypatch.setattr(files, "_bytes", lambda path: reads.append(path) or read(path))
    np.save("x.npy", A)
    files.digest_of("x.npy")
    files.digest_of("x.npy")
    assert len(reads) == 2
    os.utime("x.npy", (1e9, 1e9))
    first = files.digest_of("x.npy")
    assert files.digest_of("x.npy") == first
    assert len(reads) == 3
    np.save("x.npy", A[:2])
    os.utime("x.npy", (1e9, 1e9))
    assert files.digest_of("x.npy") != first


def test_what_is_parsed_is_what_has_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is replaced between hashing and reading is refused."""
    np.save("x.npy", A)
    monkeypatch.setattr(files, "digest_of", lambda path: "0" * 16)
    with pytest.raises(Unsupported, match="has changed"):
        files.load("x.npy", "", "auto", "0" * 16)


def test_a_cell_whose_file_is_gone_keeps_its_name_and_says_so(folder: Path) -> None:
    np.save("x.npy", A)
    text = problems.canonical("file(path=x.npy)")
    Path("x.npy").unlink()
    assert problems.canonical(text) == text
    assert problems.check_size(text, 4) == f"there is no file 'x.npy' in {folder}"
    assert refusal("file(path=x.npy)") == f"there is no file 'x.npy' in {folder}."
    assert problems.describe(text, [1]) == f"there is no file 'x.npy' in {folder}."


def test_folders_pipes_and_devices_are_refused_and_not_read(folder: Path) -> None:
    (folder / "folder.npy").mkdir()
    os.mkfifo("pipe.npy")
    Path("zero.npy").symlink_to("/dev/zero")
    for name in ("folder.npy", "pipe.npy", "zero.npy"):
        words = f"{name}: cannot be read: it is not a regular file."
        assert refusal(f"file(path={name})") == words
    assert refusal("file(path=gone/x.npy)").startswith("there is no file 'gone/x.npy' in ")


def test_a_missing_file_names_the_nearest_one_beside_it(folder: Path) -> None:
    np.save("cov.npy", A)
    Path("cob.npyx").touch()  # of no format that is read
    words = f"there is no file 'cob.npy' in {folder}. Did you mean 'cov.npy'?"
    assert refusal("file(path=cob.npy)") == words
    words = f"there is no file '{folder}/cob.npy'. Did you mean 'cov.npy'?"
    assert refusal(f"file(path={folder}/cob.npy)") == words


def test_a_file_that_changes_while_it_is_read_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.save("x.npy", A)
    digests = iter("0123456789")
    monkeypatch.setattr(files, "_hash", lambda data: next(digests) * 16)
    assert refusal("file(path=x.npy)").startswith("x.npy has changed: its digest is 1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file", "problem 'file' needs a path: file(path=cov.npy)."),
        ("file(path=)", "problem 'file' needs a path: file(path=cov.npy)."),
        ("file(path=x.npy, digest=12)", "problem 'file': digest = '12' is not 16 hex digits."),
        (
            "file(path=a%0Ab.npy)",
            "problem 'file': path = 'a\\nb.npy' has characters that cannot be shown.",
        ),
        (
            "file(path=%FF.npy)",
            "problem 'file': path = '\ufffd.npy' has characters that cannot be shown.",
        ),
        (
            "file(path=x.npy, kind=matrix)",
            "Unknown kind of file 'matrix'. Did you mean 'matrices'? "
            "Known: auto, features, matrices.",
        ),
    ],
)
def test_a_bad_text_says_what_is_wrong(text: str, words: str) -> None:
    assert refusal(text) == words


NAMES = [
    "my cov.npy",
    "a,b.npy",
    "cov (1).npy",
    "a=b.npy",
    "50%.npy",
    "it's.npy",
    'a"b.npy',
    "a|b.npy",
    " x .npy",
    "größe.npy",
    "%28.npy",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_path_can_be_spelled(name: str) -> None:
    np.save(name, A)
    text, size, count = files.problem_of(name)
    assert (size, count) == (4, 3)
    assert problems.canonical(text) == text
    assert problems.parse(text)[0].given["path"] == name
    np.testing.assert_array_equal(made(text).master, A)


@pytest.mark.slow
@given(st.text(max_size=20))
def test_a_quoted_text_reads_back_as_itself(text: str) -> None:
    if "\ud800" <= max(text, default="") <= "\udfff":
        return
    call = problems.parse(f"file(path={quoted(text)}, digest=0)")[0]
    assert call.given["path"] == text


def test_one_file_has_one_spelling() -> None:
    np.save("x.npy", A)
    text = problems.canonical("file(path=x.npy)")
    digest = text.rpartition("digest=")[2].rstrip(")")
    for other in (
        "file(x.npy)",
        "file(path=./x.npy)",
        "file('x.npy')",
        "file(x.npy,kind=matrices)",
        f"file(digest={digest}, path=x.npy)",
    ):
        assert problems.canonical(other) == text


def test_other_problems_have_nothing_to_say() -> None:
    assert problems.describe("wishart", [4]) is None


def test_reading_a_text_imports_no_library() -> None:
    np.save("x.npy", A)
    code = (
        "import sys; from mssbench import problems; problems.canonical('file(path=x.npy)')\n"
        "print([m for m in ('torch', 'scipy', 'h5py', 'safetensors') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
