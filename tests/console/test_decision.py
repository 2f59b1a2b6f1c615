"""The first table as it is printed: on any width, without Unicode, and on a busy machine."""

import io

import pytest
from helpers.tables import frame, row
from rich.console import Console

from mssbench.analysis.decision import ErrorBounds
from mssbench.console.decision import Decision

EASY, HARD = "wishart(ratio=2)", "logspec(condition=1e6)"
METHODS = {
    # forward, backward, iterations, options: seconds, error on the easy and the hard problem
    ("eigh", "loewner", None, ""): (11.8e-3, 1e-6, 5e-2),
    ("svd", "autodiff", None, ""): (21.7e-3, 5e-6, 9e-2),
    ("minimax_hybrid", "autodiff", None, ""): (11.3e-3, 8e-6, 0.8),
    ("newton_schulz", "autodiff", 5, "norm=trace"): (10.9e-3, 0.2, 0.98),
}
COMMANDS = ["every row  mssbench show results/quick"]


def facts(load=0.3, drift=0.05):
    run = {"load_start": [load, 1.0, 1.0], "drift": drift, "suite": "quick", "seconds": 39.0}
    machine = {
        "cpu": "Intel(R) Xeon(R) Processor",
        "cores": {"granted": 2},
        "versions": {"torch": "2.13.0"},
    }
    return {"runs": {"r" * 12: run}, "environments": {"e" * 12: machine}}


def rows():
    for (forward, backward, k, options), (seconds, easy, hard) in METHODS.items():
        for problem, condition, error in ((EASY, 42.0, easy), (HARD, 1e6, hard)):
            yield row(
                seconds,
                status="ok" if error <= 0.1 else "inaccurate",
                phase="step",
                forward=forward,
                backward=backward,
                iterations=k,
                options=options,
                size=64,
                problem=problem,
                condition=condition,
                gradient=error,
                noise="quiet",
            )
    yield row(
        None,
        status="unsupported",
        reason="cupy does not run on cpu",
        phase="step",
        library="cupy",
        backward="loewner",
        size=64,
    )


def printed(width=110, encoding="utf-8", **about):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    paper = Console(file=stream, width=width, highlight=False, emoji=False)
    paper.print(Decision(frame(*rows()), facts(**about), COMMANDS), crop=False)
    text = stream.buffer.getvalue().decode(encoding)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def test_the_heading_of_a_resumed_run_has_the_load_and_time_of_the_latest_run():
    """The rows of the first run may come last in the table, which has the order of the suite."""
    known = facts()
    latest = known["runs"]["r" * 12] | {"started": "2026-11-02T10:00:00+00:00"}
    first = latest | {"started": "2026-11-01T10:00:00+00:00", "load_start": [1.7, 0, 0]}
    known["runs"] = {"f" * 12: first | {"seconds": 200.0}, "r" * 12: latest}
    made = list(rows())
    for each in made[len(made) // 2 :]:
        each["run_id"] = "f" * 12
    paper = Console(file=io.StringIO(), width=110)
    paper.print(Decision(frame(*made), known, COMMANDS))
    heading = paper.file.getvalue().splitlines()[0]
    assert heading.endswith("load 0.3 · took 39 s, the latest of 2 runs")


@pytest.mark.parametrize("width", [80, 110, 160])
def test_no_line_is_wider_than_the_terminal_and_every_method_has_one(width):
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    lines = text.splitlines()
    for name, ratio in (
        ("eigh + loewner", "1.0x"),
        ("svd + autodiff", "1.8x"),
        ("minimax_hybrid + autodiff", "="),
        ("newton_schulz + autodiff", "="),
    ):
        (line,) = [x for x in lines if x.lstrip("● ").startswith(name) and " ms " in x]
        assert f" {ratio} " in line, line
    assert ("█" in text) is (width > 80)
    table = text.split("\n\n")[1]
    assert ("(iSQRT-COV)" in table) is (width >= 100)


def test_a_ratio_is_shown_as_a_tie_only_if_it_is_near_one_and_a_missing_one_as_a_dash():
    times = {"eigh": {EASY: 1.0, HARD: 1.0}, "svd": {EASY: 5.0, HARD: 0.9}, "pade": {"spiked": 2.0}}
    made = [
        row(
            seconds,
            phase="step",
            forward=forward,
            backward="loewner",
            problem=problem,
            condition=42.0,
            gradient=1e-6,
            noise="quiet",
            computed_in="float64" if forward == "pade" else "",  # it does not compete
        )
        for forward, by_problem in times.items()
        for problem, seconds in by_problem.items()
    ]
    paper = Console(file=io.StringIO(), width=110)
    paper.print(Decision(frame(*made), facts(), COMMANDS))
    printed_lines = paper.file.getvalue().splitlines()
    lines = {x.split()[0]: x for x in printed_lines if "+ loewner" in x and " s " in x}
    assert "2.1x" in lines["svd"]
    assert " - " in lines["pade"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", range(46, 80))
def test_on_a_narrow_terminal_names_are_folded_and_no_number_is_lost(width, encoding):
    lines = printed(width, encoding).splitlines()
    assert max(len(x) for x in lines if "mssbench" not in x) <= width  # commands are not folded
    table = "\n".join(lines)
    for number in ("11.8 ms", "21.7 ms", "1e-06", "5e-02", " 0.2"):
        assert number in table
    assert ("vs best" in table) is (width > 47)
    assert "iSQRT-COV (newton_schulz + autodiff)" in " ".join(table.split())


def test_a_character_whose_replacement_is_longer_is_replaced_before_folding():
    machine = facts()
    machine["environments"]["e" * 12]["cpu"] = "κ" * 30
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    paper = Console(file=stream, width=70, highlight=False, emoji=False)
    paper.print(Decision(frame(*rows()), machine, COMMANDS), crop=False)
    assert max(map(len, stream.buffer.getvalue().decode().splitlines())) <= 70


def test_the_groups_stand_in_the_order_of_what_they_are_right_on():
    lines = [line.strip() for line in printed().splitlines()]
    titles = ["right everywhere", "right on easy matrices only", "no right digit"]
    places = [lines.index(title) for title in titles]
    assert places == sorted(places)
    group = [
        next(i for i, line in enumerate(lines) if line.startswith(name))
        for name in ("●  eigh", "svd", "minimax_hybrid", "newton_schulz")
    ]
    assert places[0] < group[0] < group[1] < places[1] < group[2] < places[2] < group[3]


def test_what_to_use_is_a_call_that_is_never_wrapped():
    call = '    y = mssbench.sqrtm(a, forward="eigh", backward="loewner")'
    for width in (40, 110):
        assert call in printed(width).splitlines()
    text = " ".join(printed().split())
    assert "Use eigh + loewner: of 2 that are right on every kind of matrix, the fastest by" in text
    assert "iSQRT-COV (newton_schulz + autodiff) is no faster here" in text
    assert "Not timed: 1 method, cupy does not run on cpu." in text
    assert "Next: every row mssbench show results/quick" in text


def test_without_unicode_it_is_plain_ascii():
    text = printed(encoding="ascii")
    assert text.isascii()
    assert "*  eigh + loewner" in text
    assert "x 0.8" in text
    assert "####" in text


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"load": 9.3}, "The machine was busy when the run began: load 9.3 on 2 cores."),
        ({"drift": 31.97}, "The machine changed its speed by 3197 % during the run."),
    ],
)
def test_on_a_busy_machine_that_is_said_first_and_nothing_is_called_fastest(about, why):
    text = printed(**about)
    assert text.startswith(why)
    assert "measure again with --fresh" in text.replace("\n  ", " ")
    body = text.split("\n\n", 1)[1]
    for word in ("●", "fastest by", "sqrtm(", "1.8x", "=  "):
        assert word not in body, word
    assert sum(" ms " in line and " ? " in line for line in body.splitlines()) == len(METHODS)
    assert "Right everywhere: eigh + loewner, svd + autodiff. Which is faster is not known." in body
    assert "✗ 0.8" in text  # what is wrong stays wrong


def test_rows_of_two_machines_are_called_that_first_and_nothing_is_called_fastest():
    known = facts()
    known["environments"]["f" * 12] = known["environments"]["e" * 12] | {
        "gpus": [{"name": "NVIDIA H200"}]
    }
    mixed = frame(*rows())
    mixed.loc[mixed["forward"] == "svd", "environment"] = "f" * 12
    stream = io.StringIO()
    paper = Console(file=stream, width=110, highlight=False, emoji=False)
    paper.print(Decision(mixed, known, COMMANDS), crop=False)
    text = " ".join(stream.getvalue().split())
    assert text.startswith("The machine was not the same for all rows: some are of Intel(R) Xeon")
    assert "others of NVIDIA H200 (driver None)" in text
    assert "measure again" not in text
    heading = "quick · load 0.3 · took 39 s"
    body = text.split(heading, 1)[1]
    for word in ("●", "fastest by", "sqrtm(", "1.8x"):
        assert word not in body, word


def test_a_nan_on_a_kind_that_ranks_nobody_is_still_not_right_everywhere():
    """Nobody knows the right answer on the third kind, but it is a number."""
    common = {
        "phase": "step",
        "size": 64,
        "problem": "convfeat",
        "noise": "quiet",
        "reference_error": 0.3,
    }
    more = [
        row(11.8e-3, forward="eigh", backward="loewner", gradient=0.2, **common),
        row(21.7e-3, status="nonfinite", forward="svd", backward="autodiff", **common),
    ]
    stream = io.StringIO()
    paper = Console(file=stream, width=110, highlight=False, emoji=False)
    paper.print(Decision(frame(*rows(), *more), facts(), COMMANDS), crop=False)
    lines = [line.strip() for line in stream.getvalue().splitlines()]
    title = lines.index("right on easy and hard matrices only")
    assert lines[title + 1].startswith("svd + autodiff")
    assert lines[title + 1].endswith("✗ nan")
    assert lines[lines.index("right everywhere") + 1].endswith("?")
    assert any(
        line.startswith("Use eigh + loewner: the only method that is right") for line in lines
    )


@pytest.mark.parametrize(
    ("bounds", "document", "cross", "title"),
    [
        (ErrorBounds(), {}, "✗ above 0.1: no right digit", "no right digit"),
        (ErrorBounds(gradient=1e-9), {}, "✗ above 1e-09", "right on no kind"),
        (ErrorBounds(root=1e-3), {}, "✗ above 0.1: no right digit", "no right digit"),
        (ErrorBounds(), {"measure": {"max_error": 0.01}}, "✗ above 0.01", "right on no kind"),
    ],
)
def test_a_cross_stands_for_the_limit_that_was_used(bounds, document, cross, title):
    about = facts()
    about["runs"]["r" * 12]["document"] = document
    stream = io.StringIO()
    paper = Console(file=stream, width=160, highlight=False, emoji=False)
    paper.print(Decision(frame(*rows()), about, COMMANDS, bounds), crop=False)
    text = stream.getvalue()
    assert f"{cross} ·" in text
    assert title in [line.strip() for line in text.splitlines()]
    # what has a digit is never said to have none
    assert ("its gradient has no right digit" in text) is (bounds.gradient != 1e-9)


def test_where_no_reference_is_exact_enough_no_line_is_said_to_be_wrong():
    made = [each | {"reference_error": 0.8} for each in rows()]
    paper = Console(file=io.StringIO(), width=110, highlight=False)
    paper.print(Decision(frame(*made), facts(), COMMANDS))
    text = " ".join(paper.file.getvalue().split())
    assert "not ranked, as no reference is exact enough" in text
    assert "no right digit anywhere" not in text
    assert text.count("no right digit") == 1, "the legend alone"
    assert "in float32. Measure in float64: --set precision=float64" in text
