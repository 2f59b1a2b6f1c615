"""`mssbench plot` and `mssbench report` for runs of trainings, as a user calls them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.altered_runs import QUICK
from helpers.planted_trainings import EXACT, MEAN, cell, cells, plant, result
from helpers.tables import called

from mssbench.cli.plot import FIGURES as OF_RUNS
from mssbench.cli.plot import OF_TRAININGS
from mssbench.report.trainings.figures import FIGURES


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command runs, beside the runs."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    planted = {c: result(c) for c in cells([EXACT, MEAN], learning_rates=[0.1])}
    return plant(tmp_path_factory.mktemp("planted") / "trained", planted)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def plot(capsys: Any, *arguments: Any) -> tuple[int, str, str]:
    code, out, err = called(capsys, "plot", *arguments)
    return code, " ".join(out.split()), " ".join(err.split())


def drawn(file: Path) -> Any:
    """The specification in a figure's page."""
    return json.loads(file.read_text().partition('id="data">')[2].partition("</script>")[0])


def test_the_command_offers_the_figures_that_exist() -> None:
    assert sorted(FIGURES) == sorted(OF_TRAININGS)
    assert not set(OF_TRAININGS) & set(OF_RUNS)


def test_the_curves_are_drawn_unless_another_figure_is_named(
    run: Path, here: Path, capsys: Any
) -> None:
    code, out, err = plot(capsys, run)
    assert (code, err) == (0, "")
    assert "in trained-curves.png" in out
    assert (here / "trained-curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("figure", OF_TRAININGS)
def test_every_figure_is_drawn(run: Path, here: Path, capsys: Any, figure: str) -> None:
    code, out, _ = plot(capsys, run, "--figure", figure, "-o", "f.svg")
    assert code == 0
    text = (here / "f.svg").read_text()
    assert text.startswith("<svg")
    assert FIGURES[figure].title in text
    for words in ("NaN", "undefined", "null"):
        assert f">{words}<" not in text
    assert "in f.svg" in out


def test_a_page_has_the_numbers_of_the_tables(run: Path, here: Path, capsys: Any) -> None:
    assert plot(capsys, run, "-o", "f.html")[0] == 0
    spec = drawn(here / "f.html")
    rows = spec["datasets"]["rows0"]
    assert {row["quantity"] for row in rows} == {"Accuracy"}
    assert len(rows) == 2 * 4
    loss = spec["datasets"]["rows1"]
    ends = {p["name"]: p["value"] for p in spec["params"]}
    assert ends["loss_low"] <= min(row["low"] for row in loss)
    assert ends["loss_high"] >= max(row["high"] for row in loss)


def test_all_leaves_out_what_has_nothing_to_draw(tmp_path: Path, here: Path, capsys: Any) -> None:
    few = {c: result(c, probes=False) for c in cells([EXACT], seeds=1)}
    code, out, _ = plot(capsys, plant(tmp_path / "few", few), "--figure", "all")
    assert code == 0
    assert files(here) == ["few-curves.png", "few-robustness.png"]
    assert "Left out: there is nothing to draw in the figure 'differences': it needs five" in out
    assert "Left out: there is nothing to draw in the figure 'probes'" in out


def test_an_interrupted_run_is_drawn_with_a_warning(
    tmp_path: Path, here: Path, capsys: Any
) -> None:
    planted: dict[Any, Any] = {c: result(c) for c in cells([EXACT], learning_rates=[0.1])}
    planted[cell(MEAN)] = None
    code, out, _ = plot(capsys, plant(tmp_path / "r", planted), "-o", "f.html")
    assert code == 0
    assert "The run was stopped: 1 of 6 trainings is missing" in out
    subtitle = " ".join(drawn(here / "f.html")["title"]["subtitle"])
    assert "Warning: The run was stopped" in subtitle


def test_figures_show_no_times_and_warn_of_none(tmp_path: Path, here: Path, capsys: Any) -> None:
    planted = {c: result(c) | {"timed": False} for c in cells([EXACT], learning_rates=[0.1])}
    code, out, _ = plot(capsys, plant(tmp_path / "r", planted), "-o", "f.html")
    assert code == 0
    assert "no times" not in out
    assert "no times" not in " ".join(drawn(here / "f.html")["title"]["subtitle"])


def test_the_ticks_of_losses_are_plain_numbers(run: Path, here: Path, capsys: Any) -> None:
    assert plot(capsys, run, "-o", "f.svg")[0] == 0
    texts = re.findall(r"<text[^>]*>([^<]+)</text>", (here / "f.svg").read_text())
    assert "0.5" in texts
    assert not [text for text in texts if re.fullmatch(r"\de[+-]?\d+", text)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--figure", "front"], "front is no figure of trainings"),
        (["--figure", "curvs"], "Unknown figure 'curvs'. Did you mean 'curves'?"),
        (["--figure", ","], "--figure is empty"),
        (["--figure", "all", "-o", "f.png"], "can hold one figure, and 4 are asked for"),
        (["-o", "f.jpg"], "must end in one of"),
        (["--where", "tusk == 'tex12'"], "Unknown column 'tusk'"),
        (["--where", "seed == 9"], "leaves none of the 10 rows"),
        (["--figure", "differences", "--where", "seed < 3"], "it needs five seeds of a method"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    run: Path, here: Path, capsys: Any, arguments: list[str], message: str
) -> None:
    code, _, err = plot(capsys, run, *arguments)
    assert code == 2
    assert message in err
    assert files(here) == []


def test_a_figure_of_trainings_needs_trainings(here: Path, capsys: Any) -> None:
    code, _, err = plot(capsys, QUICK, "--figure", "curves")
    assert code == 2
    assert "--figure curves is a figure of trainings" in err
    assert "front" in err


def test_runs_of_both_kinds_are_not_drawn_together(run: Path, here: Path, capsys: Any) -> None:
    code, _, err = plot(capsys, run, QUICK)
    assert code == 2
    assert "is a run of trainings, and" in err
    assert files(here) == []


def test_more_panels_than_can_be_read_are_refused_with_a_condition(
    tmp_path: Path, here: Path, capsys: Any
) -> None:
    rates = [0.01 * k for k in range(1, 21)]
    many = {c: result(c) for c in cells([EXACT], seeds=1, learning_rates=rates)}
    code, _, err = plot(capsys, plant(tmp_path / "many", many))
    assert code == 2
    assert "would have 40 panels" in err
    assert "task == 'tex12' and learning_rate == 0.01" in err


@pytest.mark.slow  # it makes a whole page, with all its charts
def test_the_report_takes_both_kinds_of_runs(run: Path, here: Path, capsys: Any) -> None:
    assert called(capsys, "report", QUICK, run, "-o", "both.html")[0] == 0
    text = (here / "both.html").read_text()
    assert 'id="trainings"' in text
    assert 'id="findings"' in text
