"""Attacks on what a command writes to: content may degrade, exit codes and the last line do not."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import stand_in, write_suite
from helpers.tables import called, row, write

from mssbench.cli import main
from mssbench.results import table

ENCODINGS = ("ascii", "latin-1", "cp1252", "gbk", "cp437", "koi8-r")
LAST = "mssbench: verdict="


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs, of which the second has a row that broke for a reason of many alphabets."""
    folder = tmp_path_factory.mktemp("runs")
    base = write(folder / "base", *(row(1e-3, root=1e-6, size=n) for n in (16, 32)))
    odd = row(status="crashed", reason="κ ≥ 10⁶ → 漢字 ● ✗ —", size=32)
    return base, write(folder / "new", row(1e-3, root=1e-6), odd)


def invoke(
    *words: object, stdout: Any = subprocess.PIPE, stderr: Any = subprocess.PIPE, **more: Any
) -> tuple[int, bytes, bytes]:
    """The command line in a process of its own, with streams of its own."""
    env = os.environ | {k: str(v) for k, v in more.pop("environment", {}).items()}
    done = subprocess.run(
        [sys.executable, "-m", "mssbench", *map(os.fsencode, map(str, words))],
        stdout=stdout,
        stderr=stderr,
        env=env,
        timeout=120,
        **more,
    )
    return done.returncode, done.stdout or b"", done.stderr or b""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_attack_an_encoding_that_lacks_letters_changes_no_code(
    runs: tuple[Path, Path], encoding: str
) -> None:
    base, new = runs
    settings = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LC_ALL": "C"}
    code, out, err = invoke("check", new, "--baseline", base, environment=settings)
    text = out.decode(encoding)
    assert code == 4, err
    assert text.splitlines()[-1].startswith(f"{LAST}broken")
    assert b"Traceback" not in err


@pytest.mark.sampled(1)
@pytest.mark.parametrize("words", [("show",), ("check",), ("--help",), ("compare",), ("bad",)])
def test_attack_a_full_disk_behind_stdout_changes_no_code(
    runs: tuple[Path, Path], words: tuple[str, ...]
) -> None:
    base, new = runs
    more: dict[str, list[object]]
    more = {"show": [new], "check": [new, "--baseline", base], "compare": [base, new], "bad": []}
    due = {"show": 0, "check": 4, "compare": 0, "--help": 0, "bad": 2}[words[0]]
    with Path("/dev/full").open("w") as full:
        code, _, err = invoke(*words, *more.get(words[0], []), stdout=full)
    assert code == due, err
    assert b"Traceback" not in err
    assert b"mistake in mssbench" not in err
    if words[0] != "bad":
        assert b"stdout cannot be written: No space left on device" in err


def test_attack_an_export_that_does_not_fit_is_no_success(runs: tuple[Path, Path]) -> None:
    with Path("/dev/full").open("w") as full:
        code, _, err = invoke("export", runs[0], "--to", "json", stdout=full)
    assert (code, b"the export is not complete" in err) == (2, True)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("words", "due"), [("check", 4), ("show", 0), ("--help", 0)])
def test_attack_closed_streams_change_no_code(
    runs: tuple[Path, Path], words: str, due: int
) -> None:
    base, new = runs
    every: dict[str, list[object]]
    every = {"check": [new, "--baseline", base], "show": [new], "--help": []}
    more = every[words]
    for closed in ((1,), (2,), (0, 1, 2)):

        def close(fds: tuple[int, ...] = closed) -> None:
            for fd in fds:
                os.close(fd)

        code, _, _ = invoke(words, *more, stdout=None, stderr=None, preexec_fn=close)
        assert code == due, closed


@pytest.mark.slow
def test_attack_a_run_with_all_streams_closed_writes_only_its_own_files(tmp_path: Path) -> None:
    """With descriptor 1 free, the first file to be opened would take what is printed."""
    suite, out = write_suite(tmp_path), tmp_path / "out"

    def close() -> None:
        for fd in (0, 1, 2):
            os.close(fd)

    code, _, _ = invoke(
        "run",
        suite,
        "--out",
        out,
        "--python",
        stand_in(tmp_path),
        stdout=None,
        stderr=None,
        preexec_fn=close,
    )
    assert code == 0
    assert table.load(out)["status"].tolist() == ["ok"]


@pytest.mark.slow
def test_attack_a_full_disk_behind_stderr_does_not_end_a_run(tmp_path: Path) -> None:
    suite, out = write_suite(tmp_path), tmp_path / "out"
    with Path("/dev/full").open("w") as full:
        code, _, _ = invoke("run", suite, "--out", out, "--python", stand_in(tmp_path), stderr=full)
    assert code == 0
    assert len(table.load(out)) == 1


@pytest.mark.sampled(1)
@pytest.mark.parametrize("words", [("--help",), ("list", "backends"), ("check",)])
def test_attack_a_reader_that_is_gone_is_no_error(
    runs: tuple[Path, Path], words: tuple[str, ...]
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    more = [runs[1], "--baseline", runs[0]] if words == ("check",) else []
    code, _, err = invoke(*words, *more, stdout=theirs)
    os.close(theirs)
    assert code == (4 if more else 0), err
    assert b"cannot be written" not in err


WIDTHS = (*range(26), 30, 40, 50, 60, 72)
ODD_WIDTHS = ("²", "-5", "9" * 40, "1e3", "", "٣")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("columns", [0, 1, 7, 19, 33, 72, *ODD_WIDTHS])
def test_attack_the_last_line_is_whole_at_any_width(
    runs: tuple[Path, Path], columns: object, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    base, new = runs
    for words in (("check", new, "--baseline", base), ("compare", base, new)):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(columns))
        code, out, err = called(capsys, *words)
        last = out.splitlines()[-1]
        assert code == (4 if words[0] == "check" else 0), err
        assert last.startswith(LAST)
        assert last.endswith("rows=2")


@pytest.mark.sampled(slow=6)
@pytest.mark.slow
@pytest.mark.parametrize("columns", WIDTHS)
def test_attack_every_command_fits_any_width(
    runs: tuple[Path, Path], columns: int, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    base, new = runs
    for words in (
        ("show", new),
        ("compare", base, new, "--display", "intervals"),
        ("compare", base, new, "--display", "explain"),
        ("recommend", "--size", "16", "--batch", "64", base),
        ("list", "backends"),
        ("run", "quick", "--dry-run", "--device", "cpu"),
        ("--help",),
        ("run", "--help"),
    ):
        monkeypatch.setenv("COLUMNS", str(columns))
        code, out, err = called(capsys, *words)
        assert code in (0, 6), (words, err)
        assert out


# Names and paths

LONG = "x" * 300


@pytest.mark.parametrize(
    "words",
    [
        ("show", LONG),
        ("run", "smoke", "--out", LONG),
        ("check", "RUN", "--baseline", LONG),
        ("baseline", "save", "RUN", "--name", LONG),
        ("export", "RUN", "--to", "csv", "--out", LONG),
        ("merge", "RUN", "RUN", "--out", LONG),
        ("run", "smoke", "--also", f"{LONG}.py"),
        ("run", f"./{LONG}.toml"),
        ("run", "smoke", "--matrices", f"{LONG}.npy"),
        ("import", LONG, "--out", "x"),
        ("new", f"{LONG}.py"),
        ("test", f"{LONG}.py"),
    ],
    ids=lambda words: "-".join(w[:10] for w in words),
)
def test_attack_a_name_that_no_file_can_have_is_misuse(
    runs: tuple[Path, Path],
    words: tuple[str, ...],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = called(capsys, *[str(runs[0]) if w == "RUN" else w for w in words])
    assert code == 2, err
    assert err.startswith("mssbench: ")
    assert "Traceback" not in err


@pytest.mark.sampled(1, slow=0)
@pytest.mark.parametrize("name", [os.fsdecode(b"r\xff\xfen"), "r\nn", "r\x1b[31mn", "[bold]r"])
def test_attack_a_path_of_any_bytes_is_read_and_named(
    runs: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for file in runs[0].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    for words in (
        ("show", folder),
        ("merge", folder),
        ("check", folder, "--baseline", folder),
        ("export", folder, "--to", "junit"),
    ):
        code, out, err = invoke(*words)
        assert code == 0, err
        assert b"\x1b" not in out
    code, _, err = invoke("show", folder / "none")
    assert (code, b"Traceback" in err, b"\x1b" in err) == (2, False, False)


def test_attack_matrices_whose_path_is_not_utf8_are_refused(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / os.fsdecode(b"m\xff.npy")
    np.save(path, np.eye(4)[None])
    code, _, err = invoke("run", "quick", "--matrices", path, "--dry-run")
    assert (code, b"is not UTF-8" in err) == (2, True)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xef\xbb\xbfname = 'x'\n", "byte order mark"),
        ("name = 'x'".encode("utf-16"), "cannot be"),
        (b"name = '\xff'", "cannot be read"),
        (b"a = " + b"[" * 50_000, ""),
        (b"\x00", "not valid"),
    ],
)
def test_attack_a_suite_of_odd_bytes_is_misuse_with_the_reason(
    tmp_path: Path, data: bytes, why: str, capsys: Any
) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(data)
    code, _, err = called(capsys, "run", file, "--dry-run")
    assert (code, why in err, "Traceback" in err) == (2, True, False), err


def test_attack_a_dangling_link_for_out_is_named(tmp_path: Path, capsys: Any) -> None:
    suite = write_suite(tmp_path)
    (tmp_path / "out").symlink_to(tmp_path / "nowhere")
    code, _, err = called(capsys, "run", suite, "--out", tmp_path / "out")
    assert (code, "symbolic link to" in err, "nowhere" in err) == (2, True, True)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"])
@pytest.mark.parametrize("where", ["folder", "nowhere/x", "/dev/full", "x" * 300])
def test_attack_github_files_that_cannot_be_written_are_misuse_with_the_reason(
    runs: tuple[Path, Path],
    tmp_path: Path,
    name: str,
    where: str,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv(name, str(tmp_path / where))
    code, _, err = called(capsys, "check", runs[1], "--baseline", runs[0], "--github")
    assert code == 2
    assert f"{name}: " in err
    assert "cannot be written" in err


# Codes


def test_attack_ctrl_c_is_never_a_regression(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    from mssbench.cli import show

    monkeypatch.setattr(show, "show", stop)
    assert called(capsys, "show", runs[0])[0] == 130


@pytest.mark.parametrize(
    ("error", "due"),
    [
        (MemoryError(), 2),
        (OSError(28, "No space left on device", "x"), 2),
        (PermissionError(13, "Permission denied", "x"), 2),
        (ZeroDivisionError(), 70),
        (UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no"), 2),
        (KeyError("x"), 70),
    ],
    ids=lambda x: type(x).__name__,
)
def test_attack_only_a_mistake_of_ours_is_70(
    error: Exception, due: int, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)
    code, _, err = called(capsys, "show", "x")
    assert code == due
    assert ("mistake in mssbench" in err) == (due == 70)
