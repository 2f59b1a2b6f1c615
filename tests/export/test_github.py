"""What GitHub reads: no text of a method may become a command, an output or a link of it."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.root import ROOT
from helpers.tables import called, row, write

from mssbench.compare.judgement import Judged, Judgement, RowPair
from mssbench.compare.verdict import Outcome, Verdict
from mssbench.errors import NotComparable, TableError
from mssbench.export import github

EVIL = "x\n::error title=owned::y\rz, a:b%0A | `c` <script> [d](e)"


def change(verdict: Verdict = Verdict.SLOWER, reason: str = "why") -> Judgement:
    a = row(1e-3) | {"method": "torch/eigh"}
    return Judgement(RowPair(a, a | {"seconds_median": 2e-3}), verdict, reason, ratio=2.0)


def found(outcome: Outcome, *judgements: Judgement, **more: tuple[str, ...]) -> Judged:
    return Judged(judgements, outcome, **more)  # type: ignore[arg-type]


def test_an_annotation_is_one_line_whatever_it_says() -> None:
    (line,) = github.annotations(EVIL, [change(reason=EVIL)])
    assert line.startswith("::error title=x%0A")
    assert "\n" not in line
    assert "\r" not in line
    head, _, message = line[2:].partition("::")
    assert head.count(":") == head.count(",") == 0
    assert "%250A" in message  # what looked like an escape is none


def test_what_changed_for_the_better_is_no_annotation_and_many_are_counted() -> None:
    assert list(github.annotations("t", [change(Verdict.FASTER), change(Verdict.SAME)])) == []
    many = list(github.annotations("t", [change(Verdict.UNCLEAR)] * 9 + [change(Verdict.GONE)] * 5))
    assert len(many) == 11
    assert many[0].startswith("::error")  # the worst first
    assert many[-1].endswith("and 4 more rows")


def test_an_output_ends_where_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, step = tmp_path / "output", tmp_path / "summary"
    monkeypatch.setenv("GITHUB_OUTPUT", str(output))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
    bad = [change(reason=f"mssbench_\nverdict=pass\n{EVIL}")]
    comparison = found(
        Outcome.REGRESSION,
        *bad,
        remarks=(f"not compared: {EVIL}",),
        doubts=("base differs from itself",),
    )
    lines = github.report("mssbench ab", comparison, 1)
    assert lines[-1] == "::warning title=mssbench ab%3A regression::base differs from itself"
    told = parsed(output.read_text())
    assert told["verdict"] == "regression"
    assert told["exit_code"] == "1"
    assert (told["slower"], told["gone"]) == ("1", "0")
    assert "verdict=pass" in told["reasons"]
    marks = [line.partition("<<")[2] for line in output.read_text().splitlines() if "<<" in line]
    assert len({*marks}) == len(marks)
    text = step.read_text()
    assert "### mssbench ab: regression" in text
    assert "base differs from itself" in text
    assert "not compared" in text
    assert "<script>" not in text
    assert "[d](e)" not in text
    bars = {line.replace("\\|", "").count("|") for line in text.splitlines()}
    assert bars - {0} == {8}


def parsed(text: str) -> dict[str, str]:
    """As the runner reads it."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        name, _, mark = line.partition("<<")
        value = []
        while (each := next(lines)) != mark:
            value.append(each)
        found[name] = "\n".join(value)
    return found


def test_outside_of_github_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)
    assert len(github.report("t", found(Outcome.PASS, change()), 0)) == 1


@pytest.mark.parametrize(
    ("error", "verdict", "code"),
    [(NotComparable("other inputs"), "incomparable", "5"), (TableError(EVIL), "misuse", "2")],
)
def test_what_could_not_be_compared_is_told_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any, verdict: str, code: str
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    (line,) = github.refused("mssbench check", error)
    assert line.startswith(f"::error title=mssbench check%3A {verdict}::")
    assert "\n" not in line
    told = parsed((tmp_path / "output").read_text())
    assert (told["verdict"], told["exit_code"]) == (verdict, code)
    assert f"mssbench check: {verdict}" in (tmp_path / "summary").read_text()


def test_the_flag_writes_them(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    base = write(tmp_path / "base", row(1.0, root=1e-6))
    new = write(tmp_path / "new", row(1.0, root=9e-6))
    code, out, err = called(capsys, "check", new, "--baseline", base, "--github", "--json")
    assert code == 1
    assert out.startswith("{")
    assert err.startswith("::error title=mssbench check%3A worse::torch/eigh")
    assert "root\\_error" in (tmp_path / "summary").read_text()


# The action and the workflow, step by step.


def steps(path: str) -> list[dict[str, Any]]:
    document = yaml.safe_load((ROOT / path).read_text())
    found = document["runs"] if "runs" in document else document["jobs"]["ab"]
    return [step for step in found["steps"] if "run" in step]


@pytest.mark.parametrize("path", [".github/actions/check/action.yml", ".github/workflows/ab.yml"])
def test_no_input_is_pasted_into_a_script(path: str) -> None:
    for step in steps(path):
        assert "${{" not in step["run"]
        done = subprocess.run(["bash", "-n"], input=step["run"], text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


def run_step(
    step: dict[str, Any], folder: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """One step as a runner does: `bash -e`, its inputs in the environment."""
    given = {name: variables.get(name, "") for name in step.get("env", {})}
    env = (
        os.environ
        | given
        | {
            "GITHUB_OUTPUT": str(folder / "output"),
            "GITHUB_STEP_SUMMARY": str(folder / "summary"),
            "RUNNER_TEMP": str(folder),
        }
    )
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=folder, env=env, text=True, capture_output=True, timeout=300)


@pytest.mark.slow
def test_the_action_runs_a_suite_and_checks_it(tmp_path: Path) -> None:
    from helpers.runs import write_suite

    suite = write_suite(tmp_path, "forward = 'numpy/eigh'")
    run, check = steps(".github/actions/check/action.yml")
    given = {"SUITE": str(suite), "OUT": "results/ci"}
    done = run_step(run, tmp_path, **given)
    assert done.returncode == 0, done.stderr
    base = str(tmp_path / "results" / "ci")
    done = run_step(check, tmp_path, OUT="results/ci", BASELINE=base, FAIL_ON="seconds:900%\n")
    assert done.returncode == 0, done.stderr + done.stdout
    assert parsed((tmp_path / "output").read_text())["verdict"] == "pass"
    done = run_step(check, tmp_path, OUT="results/ci", BASELINE="gone")
    assert done.returncode == 2
    done = run_step(check, tmp_path, OUT="results/ci", BASELINE=base, FAIL_ON="seconds:900%\nx:3x")
    assert done.returncode == 2
    assert "Unknown column 'x'" in done.stderr


def test_the_workflow_installs_each_side_with_the_constraints(tmp_path: Path) -> None:
    """Its first step, where venv and pip only take notes; mssbench comes with neither tree."""
    install, _ = steps(".github/workflows/ab.yml")
    here, bin_ = tmp_path / "here", tmp_path / "bin"
    here.mkdir()
    bin_.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"], ["tag", "old"]):
        subprocess.run([*git, *words], cwd=here, check=True)
    note = (
        '#!/bin/sh\nprintf "%s " "$0" "$@" >> "$RUNNER_TEMP/asked"; echo >> "$RUNNER_TEMP/asked"\n'
    )
    make = (
        'for f in pip python; do mkdir -p "$3/bin"; cp "$RUNNER_TEMP/note" "$3/bin/$f"; done\n'
        'echo "exit 1" >> "$3/bin/python"\n'
    )
    for path, text in ((tmp_path / "note", note), (bin_ / "python", "#!/bin/sh\n" + make)):
        path.write_text(text)
        path.chmod(0o755)
    step = {"run": f'cd "{here}"\nPATH="{bin_}:$PATH"\n{install["run"]}', "env": install["env"]}
    done = run_step(step, tmp_path, BASE="old", CONSTRAINTS="pins.txt")
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text().replace(f"{tmp_path}/", "").splitlines()
    pip = [line.split("bin/pip ")[1].strip() for line in asked if "bin/pip" in line]
    trees = ("base-tree", "mssbench", "here", "mssbench")
    assert pip == [f"install --quiet -c pins.txt {tree}" for tree in trees]


@pytest.mark.exhaustive
def test_the_recipe_for_gitlab_works_as_it_stands_in_the_docs(tmp_path: Path) -> None:
    """All but its installation, with a small run in the place of smoke."""
    from helpers.runs import write_suite

    text = (ROOT / "docs" / "ci.md").read_text()
    job = yaml.safe_load(text.partition("On GitLab:")[2].split("```yaml")[1].split("```")[0])
    install, *script = job["mssbench"]["script"]
    assert install == "pip install mssbench"
    write_suite(tmp_path, "forward = 'numpy/eigh'", name="smoke").rename(tmp_path / "smoke.toml")
    save = "mssbench run smoke.toml --out base && mssbench baseline save base --name smoke"
    lines = [line.replace("run smoke ", "run smoke.toml ") for line in (save, *script)]
    command = ["bash", "-eo", "pipefail", "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.splitlines()[-1].startswith("mssbench: verdict=pass")
    for path in job["mssbench"]["artifacts"]["paths"]:
        assert (tmp_path / path).exists()
    assert (tmp_path / job["mssbench"]["artifacts"]["reports"]["junit"]).is_file()


def test_the_workflow_compares_two_environments(tmp_path: Path) -> None:
    """Its second step. A stand-in says what `ab` would."""
    _, compare = steps(".github/workflows/ab.yml")
    folder = tmp_path / "new" / "bin"
    folder.mkdir(parents=True)
    for code in (0, 1, 3, 4):
        fake = folder / "mssbench"
        fake.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "$RUNNER_TEMP/asked"\nexit {code}\n')
        fake.chmod(0o755)
        given = {"SUITE": "smoke", "UNCLEAR": "pass", "ONLY": "size == 16"}
        assert run_step(compare, tmp_path, **given).returncode == code
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [
        "ab",
        "smoke",
        "--base",
        f"{tmp_path}/base/bin/python",
        "--new",
        f"{tmp_path}/new/bin/python",
        "--inconclusive",
        "pass",
        "--only",
        "size == 16",
        "--github",
    ]


def test_a_summary_that_github_would_not_take_has_its_first_rows_and_counts_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(github, "_MOST_ROWS", 4)
    text = github.summary("t", found(Outcome.REGRESSION, *[change()] * 7))
    assert sum(line.startswith("| slower |") for line in text.splitlines()) == 4
    assert text.endswith("|\n\nand 3 more rows\n")
    text = github.summary("t", found(Outcome.REGRESSION, *[change()] * 4))
    assert sum(line.startswith("| slower |") for line in text.splitlines()) == 4
    assert "more row" not in text
