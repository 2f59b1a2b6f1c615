"""Attacks on a gate by the run that it judges: it cannot excuse itself by its own suite."""

from pathlib import Path
from typing import Any

import pytest
from helpers.tables import called, row, write

SUITE = 'name = "ci"\n[axes]\nsize = 16\nbatch = 64\n[[method]]\nforward = "torch/eigh"\n'


def run(path: Path, error: float, *limits: str, measure: str = "", **columns: Any) -> Path:
    """A run of one row whose suite has these limits."""
    write(path, row(1e-3, root=error, **columns))
    listed = ", ".join(f'"{limit}"' for limit in limits)
    check = f"[check]\nfail_on = [{listed}]\n" if limits else ""
    (path / "suite.toml").write_text(f"{SUITE}{measure}{check}")
    return path


def checked(capsys: Any, base: Path, new: Path, *more: str) -> tuple[int, str]:
    code, out, err = called(capsys, "check", new, "--baseline", base, *more)
    return code, " ".join((out + err).split())


def test_attack_a_limit_that_the_run_loosens_does_not_count_and_is_said(
    tmp_path: Path, capsys: Any
) -> None:
    base = run(tmp_path / "base", 1e-3, "root_error:3x")
    new = run(tmp_path / "new", 1e-2, "root_error:100x")
    code, said = checked(capsys, base, new)
    assert code == 1
    assert "allowed 3.00e-03 by root_error:3x" in said
    assert "'root_error:100x' is looser than 'root_error:3x'" in said


def test_attack_a_limit_that_the_run_adds_does_not_excuse_it(tmp_path: Path, capsys: Any) -> None:
    """Without a limit an error may double. The run's own rule would replace that."""
    base = run(tmp_path / "base", 1e-3)
    new = run(tmp_path / "new", 1e-2, "root_error:100x")
    code, said = checked(capsys, base, new)
    assert code == 1
    assert "'root_error:100x' is not one of the baseline" in said


def test_attack_a_limit_that_the_run_removes_still_counts(tmp_path: Path, capsys: Any) -> None:
    base = run(tmp_path / "base", 1e-3, "peak_bytes:2x", peak_bytes=100.0)
    new = run(tmp_path / "new", 1e-3, peak_bytes=1000.0)
    code, said = checked(capsys, base, new)
    assert code == 1
    assert "has no limit 'peak_bytes:2x' any more" in said


def test_attack_a_narrower_glob_of_the_run_does_not_count(tmp_path: Path, capsys: Any) -> None:
    base = run(tmp_path / "base", 1e-3, "*:root_error:3x")
    new = run(tmp_path / "new", 1e-2, "torch/svd*:root_error:3x")
    assert checked(capsys, base, new)[0] == 1


@pytest.mark.parametrize(
    "text", ["[check]\nfail_on = 3\n", "check = 3\n", "[check]\nfail_on = ['x:1x']\n", "[[["]
)
def test_attack_a_damaged_limit_of_the_run_changes_nothing(
    tmp_path: Path, capsys: Any, text: str
) -> None:
    base = run(tmp_path / "base", 1e-3, "root_error:3x")
    new = run(tmp_path / "new", 1e-2)
    (new / "suite.toml").write_text(f'name = "ci"\n{text}')
    code, said = checked(capsys, base, new)
    assert (code, "Traceback" in said) == (1, False)
    (new / "suite.toml").unlink()
    assert checked(capsys, base, new)[0] == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [("[[[", "is damaged"), ("[check]\nfail_on = ['x:1x']\n", "Unknown column 'x'")],
)
def test_attack_a_damaged_limit_of_the_baseline_is_misuse_and_never_a_pass(
    tmp_path: Path, capsys: Any, text: str, why: str
) -> None:
    base, new = run(tmp_path / "base", 1e-3), run(tmp_path / "new", 1e-3)
    (base / "suite.toml").write_text(f'name = "ci"\n{text}')
    code, said = checked(capsys, base, new)
    assert code == 2
    assert why in said
    assert "suite.toml" in said


def test_attack_an_error_that_only_the_runs_own_max_error_calls_ok_is_broken(
    tmp_path: Path, capsys: Any
) -> None:
    """0.15 is less than twice 0.09, so that the usual limit of errors does not see it."""
    base = run(tmp_path / "base", 0.09)
    new = run(tmp_path / "new", 0.15, measure="[measure]\nmax_error = 10.0\n")
    code, said = checked(capsys, base, new)
    assert code == 4
    assert "ok -> inaccurate" in said
    assert "max_error 10 is looser than 0.1" in said


def test_attack_the_baselines_own_max_error_is_the_one_that_counts(
    tmp_path: Path, capsys: Any
) -> None:
    measure = "[measure]\nmax_error = 0.5\n"
    base = run(tmp_path / "base", 0.29, measure=measure)
    new = run(tmp_path / "new", 0.3, measure=measure)
    assert checked(capsys, base, new)[0] == 0


def test_attack_a_limit_on_the_command_line_still_comes_last(tmp_path: Path, capsys: Any) -> None:
    base = run(tmp_path / "base", 1e-3, "root_error:3x")
    new = run(tmp_path / "new", 5e-3, "root_error:100x")
    assert checked(capsys, base, new, "--fail-on", "root_error:9x")[0] == 0
    assert checked(capsys, base, new, "--fail-on", "root_error:4x")[0] == 1


def test_attack_equal_limits_are_not_mentioned(tmp_path: Path, capsys: Any) -> None:
    base = run(tmp_path / "base", 1e-3, "root_error:3x")
    code, said = checked(capsys, base, run(tmp_path / "new", 1e-3, "root_error:3x"))
    assert (code, "own limit" in said, "looser" in said) == (0, False, False)
