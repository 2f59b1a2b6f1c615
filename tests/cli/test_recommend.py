"""`mssbench recommend` as it is typed: an answer, no answer, and a question that makes no sense."""

import json

import pytest
from helpers.tables import called, row, write

from mssbench import results
from mssbench.cli import recommend as command
from mssbench.results import table

EASY, HARD = "wishart(ratio=2)", "logspec(condition=1e6)"


def rows(size=64, batch=16):
    for forward, seconds, error in (("eigh", 2.0, 1e-6), ("svd", 5.0, 1e-6), ("pade", 1.0, 0.5)):
        for problem, condition in ((EASY, 40.0), (HARD, 1e6)):
            yield row(
                seconds,
                status="ok" if error < 0.1 else "inaccurate",
                phase="step",
                forward=forward,
                backward="loewner",
                problem=problem,
                condition=condition,
                gradient=error,
                root=1e-6,
                size=size,
                batch=batch,
                noise="quiet",
            )


@pytest.fixture
def measured(tmp_path):
    return write(tmp_path / "mine", *rows())


ASK = ("recommend", "--size", 64, "--batch", 16, "--gradient")


def test_rows_of_exactly_this_place_are_the_answer(capsys, measured):
    code, out, _ = called(capsys, *ASK, measured)
    assert code == 0
    assert "Use eigh + loewner: of 2 that are right on every kind of matrix" in out
    assert 'y = mssbench.sqrtm(a, forward="eigh", backward="loewner")' in out
    assert f"This rests on 6 rows of {measured}." in " ".join(out.split())


def test_python_prints_the_call_alone(capsys, measured):
    code, out, _ = called(capsys, *ASK, measured, "--python")
    assert (code, out) == (0, 'y = mssbench.sqrtm(a, forward="eigh", backward="loewner")\n')


def test_python_without_a_method_says_what_to_do_next(capsys, tmp_path):
    wrong = [each | {"status": "inaccurate", "gradient_error": 0.5} for each in rows()]
    run = write(tmp_path / "mine", *wrong)
    code, out, _ = called(capsys, *ASK, run, "--python")
    assert code == 6
    said, command_line = out.splitlines()
    assert said == "# no method can be recommended from these rows"
    assert command_line == f"# mssbench show {run}"

    busy = write(tmp_path / "busy", *(each | {"flags": "loaded"} for each in wrong))
    _, out, _ = called(capsys, *ASK, busy, "--python")
    assert out.splitlines()[1].startswith("# mssbench recommend --size 64 --batch 16")
    assert out.endswith(" --measure\n")


@pytest.mark.parametrize("option", ["function", "device", "precision"])
def test_the_help_names_every_value_that_is_accepted(capsys, monkeypatch, option):
    _, _, refused = called(capsys, "recommend", "--size", 4, "--batch", 2, f"--{option}", "zzz")
    known = refused.strip().rstrip(".").partition("Known: ")[2].split(", ")
    monkeypatch.setenv("COLUMNS", "400")
    _, text, _ = called(capsys, "recommend", "--help")
    (line,) = [x for x in text.splitlines() if f"--{option} " in x]
    assert len(known) > 2
    assert [word for word in known if word not in line] == []


def test_python_without_an_answer_prints_no_line_that_could_be_pasted(capsys, measured):
    words = ("recommend", "--size", 48, "--batch", 16, "--gradient", measured, "--python")
    code, out, err = called(capsys, *words)
    assert (code, out) == (6, "")
    assert "Not measured" in err


def test_json_has_the_methods_with_the_cells_that_prove_them(capsys, measured):
    code, out, _ = called(capsys, *ASK, measured, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["schema"], found["measured"], found["recommended"]) == (1, True, "eigh + loewner")
    assert found["question"]["size"] == 64
    assert found["question"]["max_gradient_error"] is None
    known = table.load(measured)
    for method in found["methods"]:
        forward = method["method"].partition(" ")[0]
        assert set(method["cells"]) == set(known[known["forward"] == forward]["cell_id"])
    assert [m["right_everywhere"] for m in found["methods"]] == [False, True, True]


def test_what_was_not_measured_is_no_answer_but_a_command(capsys, measured):
    words = ("--gradient", "--max-gradient-error", "1e-3", "--condition", "1e5")
    code, out, _ = called(capsys, "recommend", "--size", 48, "--batch", 16, *words, measured)
    assert code == 6
    assert out.startswith("Not measured: sqrt with gradient, n = 48, batch 16, float32, cpu")
    assert "eigh + loewner  (2.00 s at n = 64, batch 16)" in out
    line = "    mssbench recommend --size 48 --batch 16 --gradient --max-gradient-error 0.001"
    assert f"{line} --condition 100000 --measure" in out


def test_runs_of_another_machine_are_not_looked_at_by_default(capsys, measured, monkeypatch):
    (measured.parent / "results").mkdir()
    measured.rename(measured.parent / "results" / "mine")
    monkeypatch.chdir(measured.parent)
    monkeypatch.setattr(command, "is_this_machine", lambda _: False)
    code, out, _ = called(capsys, *ASK)
    assert code == 6
    assert "There is no run of this machine under results/." in out


def test_what_a_killed_measurement_left_behind_is_no_run(capsys, measured, monkeypatch):
    """Of the two folders only the earlier one, which is whole, counts."""
    folder = measured.parent / "results"
    name = "recommend-sqrt-step-n64-b16-float32-cpu"
    folder.mkdir()
    measured.rename(folder / f"{name}-again")
    facts = {"environments": {"e" * 12: {}}, "runs": {"r" * 12: {}}}
    (folder / f"{name}-again" / "environment.json").write_text(json.dumps(facts))
    monkeypatch.chdir(measured.parent)
    monkeypatch.setattr(command, "is_this_machine", lambda _: True)
    assert called(capsys, *ASK)[0] == 0, "without the other folder, it is a run of that name"

    (folder / name).mkdir()
    assert called(capsys, *ASK)[0] == 6


def test_a_bound_that_nothing_meets_is_said(capsys, measured):
    code, out, _ = called(capsys, *ASK, "--max-gradient-error", "1e-9", measured)
    assert code == 6
    assert "No method is right on every kind of matrix" in " ".join(out.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--precision", "float23"], "--precision: Unknown precision 'float23'. Did you mean"),
        (["--device", "cuba"], "--device: Unknown device 'cuba'. Did you mean 'cuda'?"),
        (["--function", "sqr"], "--function: Unknown function 'sqr'. Did you mean 'sqrt'?"),
        (["--rank", "65"], "--rank 65 exceeds --size 64."),
        (["--size", "0"], "--size: size = 0 is not"),
        (["--max-gradient-error", "1e-3"], "--max-gradient-error needs --gradient."),
        (["--rank", "9", "--condition", "1e3"], "singular matrices, which have no --condition"),
    ],
)
def test_a_question_without_sense_is_refused_by_the_option(capsys, measured, words, said):
    code, out, err = called(capsys, "recommend", "--size", 64, "--batch", 16, measured, *words)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("size", "busy", "late", "calls"),
    [
        (64, False, False, []),
        (64, True, False, [True]),
        (48, False, False, [False]),
        (64, False, True, [False]),
    ],
)
def test_only_what_is_not_known_or_not_believed_is_measured(
    capsys, measured, monkeypatch, size, busy, late, calls
):
    """A complete proof on a quiet machine is an answer; one of a busy machine is taken afresh."""
    seen = []

    def fake(question, measure, say, *, fresh):
        seen.append(fresh)
        return results.open(measured)

    monkeypatch.setattr(command, "measured", fake)
    if late:
        more = row(
            None,
            status="interrupted",
            phase="step",
            forward="jacobi",
            backward="loewner",
            problem=EASY,
            size=size,
            batch=16,
        )
        write(measured, *rows(), more)
    if busy:
        path = measured / "environment.json"
        facts = {
            "environments": {"e" * 12: {"cores": {"granted": 2}}},
            "runs": {"r" * 12: {"load_start": [9.0, 9.0, 9.0]}},
        }
        path.write_text(json.dumps(facts))
    called(capsys, "recommend", "--size", size, "--batch", 16, "--gradient", measured, "--measure")
    assert seen == calls


@pytest.mark.slow
def test_measuring_answers_a_question_for_real(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ("recommend", "--size", 4, "--batch", 2, "--device", "cpu", "--precision", "float64")
    code, out, err = called(capsys, *words, "--measure")
    assert code in (0, 6), err  # 6: on a busy machine no method is called fastest
    assert "1 of 2: " in err
    assert "2 of 2: " in err
    assert ("Use " in out) is (code == 0)
    folder = tmp_path / "results" / "recommend-sqrt-forward-n4-b2-float64-cpu"
    assert (folder / "table.csv").exists()


def test_save_writes_the_table_of_auto_and_says_what_is_in_it(capsys, measured, tmp_path):
    file = tmp_path / "auto.json"
    code, out, _ = called(capsys, "recommend", measured, "--save-as", file)
    words = " ".join(out.split())
    assert code == 0
    assert f"1 place (sizes, batches, precisions) from 1 run in {file}." in words
    assert "eigh + loewner is the answer for 1 of them, a clearly faster pair for 0." in words
    (entry,) = json.loads(file.read_text())["choices"]
    assert (entry["forward"], entry["size"], entry["batch"]) == ("eigh", 64, 16)


def test_save_without_an_answer_leaves_the_file_as_it_is(capsys, tmp_path):
    run = write(tmp_path / "one", *(r for r in rows() if r["forward"] == "eigh"))
    file = tmp_path / "auto.json"
    file.write_text("mine")
    code, _, err = called(capsys, "recommend", run, "--save-as", file)
    assert code == 2
    assert "nothing is saved" in err
    assert "mssbench run quick" in err
    assert file.read_text() == "mine"


def test_save_takes_no_size_and_a_question_needs_one(capsys, measured):
    code, _, err = called(capsys, "recommend", measured, "--save", "--size", 64)
    assert (code, "leave --size and --batch out" in err) == (2, True)
    code, _, err = called(capsys, "recommend", measured, "--batch", 64)
    assert (code, "mssbench recommend --size 256 --batch 64" in " ".join(err.split())) == (2, True)


def test_without_rows_it_says_what_the_shipped_table_has_nearby(capsys, measured, monkeypatch):
    from mssbench.methods import auto

    monkeypatch.setenv("MSSBENCH_AUTO", "/nowhere/auto.json")
    auto.forget()
    near = ("recommend", "--size", 70, "--batch", 60, "--gradient", "--device", "cpu", measured)
    code, out, _ = called(capsys, *near)
    assert code == 6
    (nearest,) = (
        choice
        for choice in json.loads(auto.SHIPPED.read_text("utf-8"))["choices"]
        if (choice["function"], choice["gradient"], choice["size"], choice["batch"])
        == ("sqrt", True, 64, 64)
    )
    answer = f"{nearest['forward']} + {nearest['backward']}"
    assert f"Elsewhere {answer} was the fastest that is right" in " ".join(out.split())
    assert f"in {nearest['run']} on" in " ".join(out.split())
    code, out, _ = called(capsys, "recommend", "--size", 1000, "--batch", 60, measured)
    auto.forget()
    assert (code, "Elsewhere" in out) == (6, False)


def test_a_file_that_cannot_be_written_is_named_with_the_remedy(capsys, measured, tmp_path):
    (tmp_path / "file").write_text("")
    for file in (tmp_path / "file" / "auto.json", tmp_path):
        code, _, err = called(capsys, "recommend", measured, "--save-as", file)
        assert code == 2
        assert f"{file} cannot be written: " in err
        assert "Name another file with --save-as." in " ".join(err.split())


@pytest.fixture
def shipped(measured, monkeypatch):
    """The run under results/, as one that the package's own table of answers names."""
    folder = measured.parent / "results" / "theirs"
    folder.parent.mkdir()
    measured.rename(folder)
    facts = {"environments": {"e" * 12: {}}, "runs": {"r" * 12: {"started": "2026-11-29T10:00:00"}}}
    (folder / "environment.json").write_text(json.dumps(facts))
    monkeypatch.chdir(measured.parent)
    monkeypatch.setattr(command, "is_this_machine", lambda _: True)
    monkeypatch.setattr(
        "mssbench.analysis.recommend.shipped_runs", lambda: {("theirs", "2026-11-29")}
    )
    return folder


def test_a_run_that_came_with_the_package_is_not_called_the_readers_own(capsys, shipped):
    code, out, _ = called(capsys, *ASK)
    text = " ".join(out.split())
    assert code == 0
    assert "This rests on 6 rows of results/theirs, a run that came with mssbench: it was" in text
    assert "--measure measures on this machine." in text
    assert json.loads(called(capsys, *ASK, "--json")[1])["shipped"] is True
    code, out, _ = called(capsys, "recommend", "--size", 48, "--batch", 16, "--gradient")
    assert code == 6
    text = " ".join(out.split())
    assert "Looked at 1 run under results/, 1 of which came with mssbench, without such" in text


def test_the_readers_own_run_is_preferred_to_one_that_came_with_the_package(capsys, shipped):
    """The shipped one has a method more, and would be chosen otherwise."""
    kept = [r for r in rows() if r["forward"] != "pade"]
    mine = write(shipped.parent / "own", *kept)
    (mine / "environment.json").write_text('{"environments": {"eeeeeeeeeeee": {}}, "runs": {}}')
    _, out, _ = called(capsys, *ASK)
    assert "This rests on 4 rows of results/own." in " ".join(out.split())


def test_measure_measures_where_only_a_run_of_the_package_answers(capsys, shipped, monkeypatch):
    seen = []

    def fake(question, measure, say, *, fresh):
        seen.append(fresh)
        return results.open(shipped)

    monkeypatch.setattr(command, "measured", fake)
    called(capsys, *ASK, "--measure")
    assert seen == [False]


def test_the_committed_runs_that_answer_are_known_as_shipped_and_a_new_one_is_not(pytestconfig):
    from mssbench.analysis.recommend import is_shipped
    from mssbench.methods.auto import shipped_runs

    folder = pytestconfig.rootpath / "results"
    assert {name for name, _ in shipped_runs()} <= {path.name for path in folder.iterdir()}
    for name, _ in shipped_runs():
        run = results.open(folder / name)
        assert is_shipped(run)
        for noted in run.facts["runs"].values():
            noted["started"] = "2031-01-01T00:00:00"
        assert not is_shipped(run)


@pytest.mark.parametrize("late", [0, 2])
def test_where_measuring_was_too_little_it_says_what_was_measured_and_nothing_else(
    capsys, tmp_path, monkeypatch, late
):
    """Not the neighbours of the run that was replaced: only what is measured now counts."""
    old = write(tmp_path / "old", *rows(size=32))
    only = [r for r in rows() if r["problem"] == EASY]
    stopped = [
        row(
            status="interrupted",
            reason="the time was over before this cell",
            phase="step",
            forward=forward,
            backward="loewner",
            problem=HARD,
            size=64,
            batch=16,
        )
        for forward in ("eigh", "svd")[:late]
    ]
    new = write(tmp_path / "new", *only, *stopped)
    monkeypatch.setattr(command, "measured", lambda *_, **__: results.open(new))
    code, out, _ = called(capsys, *ASK, old, "--measure")
    text = " ".join(out.split())
    assert code == 6
    assert "Not answered: sqrt with gradient, n = 64, batch 16, float32, cpu." in text
    assert f"Measured now: 3 of {3 + late} cells, in {new}." in text
    assert "nearest" not in text
    line = "mssbench recommend --size 64 --batch 16 --gradient --measure"
    assert (f"To go on: {line}" in text) is bool(late)
    assert (f"mssbench show {new}" in text) is not late or late


def test_what_the_rows_said_before_is_repeated_where_measuring_gave_no_answer(
    capsys, shipped, monkeypatch
):
    """The machine was too busy: whoever asked still has the answer that was there before."""
    busy = write(shipped.parent / "busy", *rows())
    run = {"started": "2026-11-30T10:00:00", "load_start": [9.0, 9.0, 9.0]}
    machine = {"cores": {"granted": 2}}
    facts = {"environments": {"e" * 12: machine}, "runs": {"r" * 12: run}}
    (busy / "environment.json").write_text(json.dumps(facts))
    monkeypatch.setattr(command, "measured", lambda *_, **__: results.open(busy))
    code, out, _ = called(capsys, *ASK, "--measure")
    text = " ".join(out.split())
    assert code == 6
    assert "The machine was busy" in text
    assert (
        "Until then the rows of results/theirs, which came with mssbench, recommend eigh + loewner:"
        ' y = mssbench.sqrtm(a, forward="eigh", backward="loewner")' in text
    )
