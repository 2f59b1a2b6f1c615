"""The figures show what the tables say: read from the scene that Vega computes for them."""

import itertools
import json
import math
import random
import shutil
import subprocess
from math import inf, isclose, nan
from pathlib import Path

import pytest
from helpers.scene import Panel, scene, value
from helpers.tables import frame, row
from hypothesis import given
from hypothesis import strategies as st

from mssbench.analysis import pareto
from mssbench.analysis.blocks import blocks
from mssbench.records import units
from mssbench.report import draw
from mssbench.report.drawn import Measured, table_of
from mssbench.report.figures import FIGURES
from mssbench.report.figures.axes import ERROR, SIZE, TIME, ends
from mssbench.report.figures.figure import HEIGHT, RIGHT, STRIP, WIDTH
from mssbench.report.figures.style import COLOURS, Look, Style

PAGE = Path(draw.__file__).parent / "page"
NO_FACTS = {"environments": {}, "runs": {}}
RING = 150
GROUND = Look().ground
WISHART, LOGSPEC, SINGULAR = "wishart(ratio=2)", "logspec(condition=1e6)", "wishart(ratio=0.5)"


def method(name, seconds, error, **more):
    """A row of a step of eigh + loewner or the like, with the same error of root and gradient."""
    forward, _, backward = name.partition("+")
    given = {"phase": "step", "spread": 0.02, "root": error, "gradient": error, "condition": 40.0}
    return row(seconds, forward=forward, backward=backward or "loewner", **given | more)


def table(*rows, runs=None):
    runs = {"run": rows} if runs is None else runs
    return table_of([Measured(name, frame(*of), NO_FACTS) for name, of in runs.items()])


def drawn(name, *rows, runs=None):
    """The specification of a figure of some rows, and its scene."""
    spec = draw.specification(FIGURES[name], table(*rows, runs=runs))
    return spec, scene(spec)


def looks(spec, column="method"):
    """The colour and shape of each name, by which symbols are known apart."""
    names = sorted({r[column] for rows in spec["datasets"].values() for r in rows if r[column]})
    style = Style({column: names}, by=column)
    return dict(zip(names, style.symbols(column), strict=True))


def symbols(spec, panel: Panel, column="method"):
    """The symbols of a panel by the name of their method: place in pixels, and whether hollow."""
    found = {}
    for name, (colour, shape) in looks(spec, column).items():
        for item in panel.items("symbol", shape=shape):
            hollow = item["fill"] == GROUND
            if (item["stroke"] if hollow else item["fill"]) == colour and item["size"] != RING:
                found.setdefault(name, []).append((item["x"], item["y"], hollow))
    return found


def close(a, b):
    return isclose(a, b, rel_tol=1e-6)


# Time against error


def test_a_symbol_stands_at_the_time_and_error_of_its_row():
    rows = [method("eigh", 2e-3, 1e-6), method("svd", 5e-3, 3e-7), method("pade", 1e-3, 1e-2)]
    spec, of = drawn("front", *rows)
    found = symbols(spec, of.panels[0])
    for forward, seconds, error in (
        ("eigh", 2e-3, 1e-6),
        ("svd", 5e-3, 3e-7),
        ("pade", 1e-3, 1e-2),
    ):
        ((x, y, hollow),) = found[f"{forward} + loewner"]
        assert close(value(spec, "x", x), seconds)
        assert close(value(spec, "y", y), error)
        assert not hollow


def test_bars_are_the_intervals_of_the_times():
    spec, of = drawn("front", method("eigh", 2e-3, 1e-6, spread=0.2))
    (rule,) = of.panels[0].items("rule")
    found = sorted(value(spec, "x", rule[name]) for name in ("x", "x2"))
    (record,) = spec["datasets"]["rows0"]
    assert close(found[0], record["seconds_low"])
    assert close(found[1], record["seconds_high"])
    assert found[0] < 2e-3 < found[1]


@pytest.mark.parametrize("seed", range(3))
def test_rings_and_line_are_the_front_of_pareto(seed):
    rng = random.Random(seed)
    names = ["eigh", "svd", "pade", "newton_schulz", "taylor", "minimax", "denman_beavers"]
    rows = [
        method(
            name,
            10 ** rng.uniform(-3, -1),
            10 ** rng.uniform(-7, -2),
            gradient=10 ** rng.uniform(-6, -1),
            spread=rng.uniform(0, 0.5),
        )
        for name in names
    ]
    spec, of = drawn("front", *rows)
    (front,) = pareto.fronts(frame(*rows))
    members = [c for c in front.contenders if c.standing is pareto.Standing.FRONT]

    rings = [
        (value(spec, "x", item["x"]), value(spec, "y", item["y"]))
        for item in of.panels[0].items("symbol", size=RING)
    ]
    expected = [(c.seconds, c.gradient_error) for c in members]
    assert len(rings) == len(expected)
    for (x, y), (seconds, error) in zip(sorted(rings), sorted(expected), strict=True):
        assert close(x, seconds)
        assert close(y, error)

    # The line has the least error so far, fastest first.
    (line,) = of.panels[0].lines()
    least = inf
    for point, contender in zip(line, members, strict=True):
        least = min(least, contender.gradient_error)
        assert close(value(spec, "x", point["x"]), contender.seconds)
        assert close(value(spec, "y", point["y"]), least)


def test_the_root_of_a_changed_matrix_is_not_on_the_front():
    rows = [method("eigh", 1e-3, 1e-9, options="ridge=0.1"), method("svd", 2e-3, 1e-6)]
    spec, of = drawn("front", *rows)
    (ring,) = of.panels[0].items("symbol", size=RING)
    assert close(value(spec, "x", ring["x"]), 2e-3)


def test_the_line_does_not_rise_to_a_method_that_is_on_the_front_by_its_root():
    rows = [
        method("pade", 1e-3, 1e-2, gradient=1e-5),
        method("eigh", 2e-3, 1e-6, gradient=1e-3),
    ]
    spec, of = drawn("front", *rows)
    assert len(of.panels[0].items("symbol", size=RING)) == 2
    (line,) = of.panels[0].lines()
    assert [round(value(spec, "y", point["y"]), 9) for point in line] == [1e-5, 1e-5]


def test_what_is_not_ok_is_hollow_and_not_on_the_front():
    rows = [method("eigh", 2e-3, 1e-6), method("pade", 1e-3, 0.5, status="inaccurate")]
    spec, of = drawn("front", *rows)
    found = symbols(spec, of.panels[0])
    assert [hollow for *_, hollow in found["pade + loewner"]] == [True]
    assert [hollow for *_, hollow in found["eigh + loewner"]] == [False]
    assert len(of.panels[0].items("symbol", size=RING)) == 1


@pytest.mark.parametrize("error", [nan, inf, None])
@pytest.mark.parametrize("figure", ["front", "condition"])
def test_without_a_finite_error_a_symbol_stands_above_the_frame(figure, error):
    rows = [
        method("eigh", 2e-3, 1e-6),
        method("eigh", 2e-3, 1e-4, problem=LOGSPEC, condition=1e6),
        method("pade", 1e-3, error, status="nonfinite"),
    ]
    spec, of = drawn(figure, *rows)
    (panel,) = [p for p in of.panels if "pade + loewner" in symbols(spec, p)]
    ((_, y, hollow),) = symbols(spec, panel)["pade + loewner"]
    assert y == -STRIP
    assert hollow
    assert "nan" in panel.texts().values()
    assert "have no finite error" in " ".join(of.titles)


@pytest.mark.parametrize("figure", ["front", "condition", "iterations"])
def test_an_error_of_zero_is_drawn_at_the_lower_end(figure):
    rows = [
        method("newton_schulz", 2e-3, error, problem=p, condition=c, iterations=k)
        for p, c in ((WISHART, 40.0), (LOGSPEC, 1e6))
        for k, error in ((5, 1e-3), (10, 0.0))
    ]
    column = "series" if figure == "iterations" else "method"
    spec, of = drawn(figure, *rows)
    places = [
        y
        for panel in of.panels
        for name in symbols(spec, panel, column).values()
        for _, y, _ in name
    ]
    assert places.count(HEIGHT) == 2
    assert "Errors of 0" in " ".join(of.titles)


def test_if_every_error_is_zero_they_do_not_seem_to_be_one():
    spec, of = drawn("front", method("eigh", 1e-3, 0.0), method("svd", 2e-3, 0.0))
    ((_, y, _),) = symbols(spec, of.panels[0])["eigh + loewner"]
    assert value(spec, "y", y) < 1e-16


def test_panels_have_equal_axes():
    rows = [
        method("eigh", 1e-3, 1e-6),
        method("svd", 3e-3, 1e-7),
        method("eigh", 5e-2, 1e-2, problem=LOGSPEC, condition=1e6),
        method("svd", 9e-2, 1e-3, problem=LOGSPEC, condition=1e6),
    ]
    spec, of = drawn("front", *rows)
    assert len(of.panels) == 2
    assert of.panels[0].labels == of.panels[1].labels
    for panel in of.panels:
        for x, y, _ in (p for of_method in symbols(spec, panel).values() for p in of_method):
            assert 0 < x < WIDTH
            assert 0 < y < HEIGHT


def test_seeds_have_panels_of_their_own_in_the_front_whose_matrices_differ():
    _, of = drawn("front", *(method("eigh", 1e-3, 1e-6, seed=s) for s in (0, 1)))
    assert [panel.title for panel in of.panels] == [["seed = 0"], ["seed = 1"]]


# Times over size, batch and runs


def sizes(name, times, **more):
    return [method(name, t, 1e-6, size=n, **more) for n, t in times.items()]


def test_the_dashed_line_is_the_least_limit_of_each_size():
    rows = [
        *sizes("eigh", {16: 1e-3, 64: 2e-2}),
        *sizes("svd", {16: 2e-3, 64: 3e-2}),
    ]
    limits = [4e-4, 3e-3, 2e-4, 5e-3]
    rows = [r | {"limit_seconds": x} for r, x in zip(rows, limits, strict=True)]
    spec, of = drawn("size", *rows)
    (line,) = of.panels[0].lines(strokeDash=[4, 3])
    assert [round(value(spec, "y", point["y"]), 9) for point in line] == [2e-4, 3e-3]
    assert "The dashed line is the shortest time" in " ".join(of.titles)


def test_without_a_limit_nothing_is_said_about_one():
    _, of = drawn("size", *sizes("eigh", {16: 1e-3, 64: 2e-2}))
    assert of.panels[0].lines(strokeDash=[4, 3]) == []
    assert "dashed" not in " ".join(of.titles)


@pytest.mark.parametrize("figure", ["size", "batch"])
def test_a_line_joins_the_medians_of_the_seeds(figure):
    rows = [
        method("eigh", 1e-3 * x * k, 1e-6, seed=s, **{figure: x})
        for x in (16, 64)
        for s, k in enumerate((1.0, 1.5, 5.0))
    ]
    spec, of = drawn(figure, *rows)
    (line,) = of.panels[0].lines()
    assert [round(value(spec, "y", p["y"]), 9) for p in line] == [0.024, 0.096]
    assert len(symbols(spec, of.panels[0])["eigh + loewner"]) == 6


def test_a_figure_over_sizes_needs_two():
    with pytest.raises(draw.TableError, match="times at two sizes or more"):
        drawn("size", method("eigh", 1e-3, 1e-6), method("svd", 1e-3, 1e-6))


def history(days, commits):
    """Facts and rows of runs of the same cell, on these days and with these commits."""
    runs = []
    for i, (day, commit) in enumerate(zip(days, commits, strict=True)):
        identity = {"code_hash": "c", "environment": "e" * 12, "run_id": f"r{i}"}
        rows = frame(*(method(n, 1e-3 * (i + 1), 1e-6, identity=identity) for n in ("eigh", "svd")))
        facts = {
            "environments": {"e" * 12: {"commit": commit}},
            "runs": {f"r{i}": {"started": day}},
        }
        runs.append(Measured(f"run{i}", rows, facts))
    return draw.specification(FIGURES["history"], table_of(runs))


def test_runs_stand_in_the_order_of_their_dates_and_not_of_their_names():
    spec = history(["2026-03-01T00:00", "2026-01-01T00:00", "2026-02-01T00:00"], "abc")
    of = scene(spec)
    dates = [text for _, y, text in of.panels[0].labels if text.startswith("2026")]
    assert dates == ["2026-01-01 b", "2026-02-01 c", "2026-03-01 a"]
    for line in of.panels[0].lines():
        assert [p["x"] for p in line] == sorted(p["x"] for p in line)
        times = [round(value(spec, "y", p["y"]), 6) for p in line]
        assert times == [2e-3, 3e-3, 1e-3]


def test_runs_of_one_day_and_commit_are_not_drawn_at_one_place():
    days = ["2026-03-01T08:30:00", "2026-03-01T17:45:00", "2026-03-01T17:45:10", "2026-03-02T00:00"]
    of = scene(history(days, "aaaa"))
    names = [text for _, _, text in of.panels[0].labels if text.startswith("2026")]
    assert names[0] == "2026-03-01 08:30 a"
    assert names[1:3] == ["2026-03-01 17:45 a run1", "2026-03-01 17:45 a run2"]
    assert names[3] == "2026-03-02 a"


def test_several_runs_have_panels_beside_each_other():
    runs = {
        name: [
            method(m, 1e-3, 1e-6, problem=p, condition=c)
            for m in ("eigh", "svd")
            for p, c in ((WISHART, 40.0), (LOGSPEC, 1e6))
        ]
        for name in ("one", "two")
    }
    spec, of = drawn("front", runs=runs)
    assert spec["columns"] == 2
    assert [p.title[-1] for p in of.panels] == ["one", "two", "one", "two"]


# Errors


def test_singular_matrices_stand_right_of_the_frame():
    rows = [
        method("eigh", 1e-3, 1e-6),
        method("eigh", 1e-3, 1e-4, problem=SINGULAR, condition=None),
        method("svd", 1e-3, nan, problem=SINGULAR, condition=None, status="nonfinite"),
    ]
    spec, of = drawn("condition", *rows)
    found = symbols(spec, of.panels[0])
    places = {(round(x) > WIDTH, y < 0) for x, y, _ in found["eigh + loewner"]}
    assert places == {(False, False), (True, False)}
    assert [(x, y) for x, y, _ in found["svd + loewner"]] == [(WIDTH + RIGHT, -STRIP)]
    assert {"∞", "nan"} <= set(of.panels[0].texts().values())
    assert "exactly singular" in " ".join(of.titles)


def test_a_symbol_stands_at_the_condition_and_error_of_its_row():
    rows = [
        method("eigh", 1e-3, 1e-6),
        method("eigh", 1e-3, 2e-3, problem=LOGSPEC, condition=1e6),
    ]
    spec, of = drawn("condition", *rows)
    found = symbols(spec, of.panels[0])["eigh + loewner"]
    places = [(value(spec, "x", x), value(spec, "y", y)) for x, y, _ in sorted(found)]
    for (x, y), (condition, error) in zip(places, [(40.0, 1e-6), (1e6, 2e-3)], strict=True):
        assert close(x, condition)
        assert close(y, error)


def test_only_methods_with_several_numbers_of_iterations_have_a_line_over_them():
    rows = [
        *(method("newton_schulz", 1e-3, e, iterations=k) for k, e in ((5, 1e-2), (10, 1e-5))),
        method("taylor", 1e-3, 1e-4, iterations=10),
    ]
    spec, of = drawn("iterations", *rows)
    assert of.legend == ["newton_schulz + loewner"]
    (line,) = of.panels[0].lines()
    assert [round(value(spec, "y", p["y"]), 9) for p in line] == [1e-2, 1e-5]
    ticks = [text for _, _, text in of.panels[0].labels[:2]]
    assert ticks == ["5", "10"]


# The limit


def limited(name, times, bound="compute", **more):
    return [
        method(name, t, 1e-6, problem=p, condition=c, **more)
        | {"limit_seconds": 1e-3, "bound": bound}
        for t, (p, c) in zip(times, ((WISHART, 40.0), (LOGSPEC, 1e6)), strict=False)
    ]


def test_methods_are_sorted_by_their_median_distance_from_the_limit():
    rows = [
        *limited("svd", [5e-3, 6e-3]),
        *limited("eigh", [2e-3, 40e-3]),
        *limited("pade", [3e-3]),
    ]
    spec, of = drawn("limit", *rows)
    names = [text for x, _, text in of.panels[0].labels if "+" in text]
    assert names == ["pade + loewner", "svd + loewner", "eigh + loewner"]
    found = sorted(value(spec, "x", item["x"]) for item in of.panels[0].items("symbol"))
    assert [round(x, 6) for x in found] == [2, 3, 5, 6, 40]


def test_one_limit_has_a_sentence_and_several_have_a_legend():
    _, of = drawn("limit", *limited("svd", [5e-3, 6e-3]))
    assert of.legend == []
    assert "All of them are limited by compute." in " ".join(of.titles)
    _, of = drawn("limit", *limited("svd", [5e-3]), *limited("eigh", [5e-3], bound="memory"))
    assert of.legend == ["compute", "memory"]
    assert "limited by" not in " ".join(of.titles)
    assert "limited by" not in FIGURES["limit"].about


# Maps


def cells(panel: Panel, columns, rows):
    """The texts of a map by the names of its columns and rows, whose places are axis labels."""
    across = {round(x): text for x, _, text in panel.labels if text in columns}
    down = {round(y, 1): text for _, y, text in panel.labels if text in rows}

    def nearest(place, names):
        return names[min(names, key=lambda known: abs(known - place))]

    return {(nearest(x, across), nearest(y, down)): text for (x, y), text in panel.texts().items()}


@pytest.fixture(scope="module")
def mixed():
    """Rows of five methods on three problems at two sizes, of which many fail."""
    rng = random.Random(5)
    statuses = ["ok", "ok", "ok", "inaccurate", "diverged", "nonfinite", "timeout"]
    rows = []
    for name in ("eigh", "svd", "pade", "taylor", "newton_schulz"):
        for problem, condition in ((WISHART, 40.0), (LOGSPEC, 1e6), (SINGULAR, None)):
            for size in (16, 64):
                status = rng.choice(statuses)
                seconds = None if status == "timeout" else 10 ** rng.uniform(-3, -2.4)
                given = {"condition": condition} if condition and seconds else {}
                error = 1e-5 if seconds else None
                rows.append(
                    row(
                        seconds, forward=name, backward="loewner", phase="step", root=error,
                        gradient=error, problem=problem, size=size, status=status, **given,
                    )
                )  # fmt: skip
    return rows


def test_failures_are_the_counts_of_the_table(mixed):
    whole = table(*mixed)
    of = scene(draw.specification(FIGURES["failures"], whole))
    found = cells(of.panels[0], set(whole["matrices"]), set(whole["method"]))

    order = ["ok", "inaccurate", "diverged", "nonfinite", "timeout"]
    for (matrices, name), part in whole.groupby(["matrices", "method"]):
        right = int((part["status"] == "ok").sum())
        worst = max(part["status"], key=order.index)
        expected = f"{right}/{len(part)}" + ("" if right == len(part) else f" {worst}")
        assert found.pop((matrices, name)) == expected
    assert not found


def test_failures_are_sorted_by_condition_and_by_how_much_is_right(mixed):
    whole = table(*mixed)
    of = scene(draw.specification(FIGURES["failures"], whole))
    by_condition = whole.sort_values("hardness")["matrices"].unique().tolist()
    assert [text for _, _, text in of.panels[0].labels if text in by_condition] == by_condition
    right = whole.groupby("method")["usable"].mean()
    names = [text for _, _, text in of.panels[0].labels if text in right]
    assert [right[name] for name in names] == sorted(right, reverse=True)


def test_a_method_that_computes_in_another_precision_is_not_in_the_map_of_failures():
    rows = [
        method("eigh", 1e-3, 1e-6),
        method("svd", 1e-3, 1e-6, library="numpy", computed_in="float64"),
        method(
            "svd",
            1e-3,
            0.5,
            library="numpy",
            computed_in="float64",
            problem=LOGSPEC,
            condition=1e6,
            status="inaccurate",
        ),
    ]
    _, of = drawn("failures", *rows)
    assert not any("numpy" in text for _, _, text in of.panels[0].labels)


@pytest.mark.parametrize("status", ["unsupported", "not_installed", "unavailable", "interrupted"])
def test_rows_that_were_not_measured_have_no_panel_in_the_map_of_failures(status):
    never = method(
        "svd", None, None, device="cuda", status=status, condition=None, spread=0, gradient=None
    )
    _, of = drawn("failures", method("eigh", 1e-3, 1e-6), never)
    (panel,) = of.panels
    assert list(panel.texts().values()) == ["1/1"]
    with pytest.raises(draw.TableError, match="it needs rows that were measured"):
        drawn("failures", never)


def test_winners_are_those_of_show(mixed):
    whole = table(*mixed)
    of = scene(draw.specification(FIGURES["winners"], whole))
    places = {f"n = {n}, batch 64" for n in (16, 64)}
    found = cells(of.panels[0], places, set(whole["matrices"]))

    (block,) = blocks(frame(*mixed), ("method",), ("size", "problem"))
    matrices = dict(zip(whole["problem"], whole["matrices"], strict=True))
    timed = whole[whole["seconds_median"].notna()]
    for (size, problem), part in timed.groupby(["size", "problem"]):
        text = found.pop((f"n = {size}, batch 64", matrices[problem]))
        entries = {
            name: of_name[size, problem]
            for (name,), of_name in block.entries.items()
            if (size, problem) in of_name
        }
        best = [name for name, entry in entries.items() if entry.best]
        if not best:
            assert text == ("not compared" if part["usable"].any() else "none is ok")
            continue
        first = min(best, key=lambda name: entries[name].value)
        assert text.startswith(first.removeprefix("torch/").replace(" + ", "\n+ "))
        tied = f", tied with {len(best) - 1}" if len(best) > 1 else ""
        assert text.endswith(f"\n{entries[first].value * 1e3:.2f} ms{tied}")
    assert not found


def test_a_winner_says_with_how_many_methods_it_is_tied():
    times = {"eigh": 2.00e-3, "svd": 2.05e-3, "pade": 2.10e-3, "taylor": 4e-3}
    _, of = drawn("winners", *(method(name, t, 1e-6, spread=0.1) for name, t in times.items()))
    assert list(of.panels[0].texts().values()) == ["eigh\n+ loewner\n2.00 ms, tied with 2"]


def test_times_that_cannot_be_compared_have_no_winner():
    rows = frame(method("eigh", 1e-3, 1e-6), method("svd", 2e-3, 1e-6))
    busy = {"r" * 12: {"load_start": [9.0, 9.0, 9.0]}}
    facts = {"environments": {"e" * 12: {"cores": {"granted": 2}}}, "runs": busy}
    with pytest.raises(draw.TableError, match="times that can be compared"):
        draw.specification(FIGURES["winners"], table_of([Measured("run", rows, facts)]))


def test_times_that_cannot_be_compared_have_no_front():
    rows = frame(method("eigh", 1e-3, 1e-6), method("svd", 2e-3, 1e-6))
    facts = {"environments": {"e" * 12: {"cores": {"granted": 2}}}, "runs": {}}
    assert "front" in set(table_of([Measured("run", rows, facts)])["standing"])
    facts["runs"] = {"r" * 12: {"load_start": [9.0, 9.0, 9.0]}}
    assert set(table_of([Measured("run", rows, facts)])["standing"]) == {""}


# Legends and looks


def test_the_legend_has_the_methods_that_are_drawn_and_no_others():
    rows = [
        method("eigh", 1e-3, 1e-6),
        method("svd", 1e-3, 1e-6),
        method("pade", None, None, status="unsupported", condition=None, spread=0),
    ]
    _, of = drawn("front", *rows)
    assert of.legend == ["eigh + loewner", "svd + loewner"]


def test_with_many_methods_the_legend_has_the_forwards_in_several_columns():
    names = [f"method{i}" for i in range(20)]
    rows = [
        method(f"{name}+{backward}", 1e-3, 1e-6)
        for name in names
        for backward in ("loewner", "autodiff")
    ]
    spec, of = drawn("front", *rows)
    assert sorted(of.legend) == sorted(names)
    (legend,) = {
        layer["encoding"]["color"]["legend"]["columns"]
        for layer in spec["concat"][0]["layer"]
        if layer["encoding"].get("color", {}).get("legend")
    }
    assert legend == 2


def test_64_names_have_different_symbols_and_neighbours_different_colours():
    names = tuple(f"m{i:02}" for i in range(64))
    pairs = Style({"family": names}).symbols("family")
    assert len(set(pairs)) == 64
    assert all(one[0] != other[0] for one, other in itertools.pairwise(pairs))


# How colours look without one kind of cones, as matrices of linear red, green and blue: Machado,
# Oliveira and Fernandes (2009), severity 1.
AS_SEEN = {
    "everybody": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
}


def product(matrix, vector):
    return [sum(m * x for m, x in zip(line, vector, strict=True)) for line in matrix]


def perceived(colour, matrix):
    """A colour in Oklab (Ottosson 2020), in which distances are about what the eye sees."""
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in values]
    cones = product(
        (
            (0.4122214708, 0.5363325363, 0.0514459929),
            (0.2119034982, 0.6806995451, 0.1073969566),
            (0.0883024619, 0.2817188376, 0.6299787005),
        ),
        [max(x, 0) for x in product(matrix, linear)],
    )
    return product(
        (
            (0.2104542553, 0.7936177850, -0.0040720468),
            (1.9779984951, -2.4285922050, 0.4505937099),
            (0.0259040371, 0.7827717662, -0.8086757660),
        ),
        [x ** (1 / 3) for x in cones],
    )


def luminance(colour):
    """The relative luminance of WCAG 2.2."""
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in values]
    return sum(w * x for w, x in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_colours_are_visible_on_paper_and_in_a_dark_page():
    assert min(contrast(colour, "#151515") for colour in COLOURS) >= 3
    pale = {colour for colour in COLOURS if contrast(colour, "#ffffff") < 3}
    assert pale == {"#E69F00", "#56B4E9"}  # orange and sky blue
    assert min(contrast(colour, "#ffffff") for colour in pale) >= 2.2


@pytest.mark.parametrize("reader", AS_SEEN)
def test_no_two_colours_look_alike_to(reader):
    """The closest pair of Okabe and Ito's colours is 0.076 apart."""
    seen = [perceived(colour, AS_SEEN[reader]) for colour in COLOURS]
    assert min(math.dist(one, other) for one, other in itertools.combinations(seen, 2)) > 0.07


def test_notes_are_only_on_what_is_drawn():
    _, of = drawn("front", method("eigh", 1e-3, 1e-6), method("svd", 1e-3, 1e-7))
    text = " ".join(of.titles)
    for words in ("Hollow", "above the frame", "Errors of 0"):
        assert words not in text
        assert words in FIGURES["front"].about
    _, of = drawn("front", method("eigh", 1e-3, 0.5, status="inaccurate"))
    assert "Hollow symbols are results that are not ok: inaccurate." in " ".join(of.titles)


def test_a_map_writes_a_short_time_as_the_tables_do():
    _, of = drawn("winners", method("eigh", 2e-6, 1e-6), method("svd", 5e-6, 1e-6))
    (text,) = of.panels[0].texts().values()
    assert text.endswith("\n" + units.seconds(2e-6))


def test_units_are_on_every_axis():
    rows = [*sizes("eigh", {16: 2e-6, 64: 2.5}), *sizes("svd", {16: 1e-3, 64: 1e-2})]
    _, of = drawn("size", *rows)
    labels = [text for _, _, text in of.panels[0].labels]
    assert "100 us" in labels
    assert "10 ms" in labels
    assert "1 s" in labels


# The ends of axes

positive = st.floats(1e-18, 1e12, allow_nan=False)


@given(st.lists(positive, min_size=1, max_size=5))
def test_the_ends_enclose_all_values_and_have_labels(values):
    low, high, ticks = ends(TIME, values)
    assert low < min(values)
    assert max(values) < high
    assert low >= min(values) / 6
    assert high <= max(values) * 6
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)
    assert ticks == sorted(ticks)


@pytest.mark.parametrize("values", [[5e-324], [5e-324, 1.0], [1.7e308], [5e-324, 1.7e308]])
def test_numbers_at_the_ends_of_floating_point_have_an_axis(values):
    low, high, ticks = ends(ERROR, values)
    assert 0 < low < high < inf
    assert len(ticks) >= 2


@given(st.lists(st.integers(1, 4096), min_size=1, max_size=5))
def test_sizes_are_the_ticks_of_their_axis(values):
    low, high, ticks = ends(SIZE, values)
    assert ticks == sorted(set(values))
    assert low < ticks[0]
    assert ticks[-1] < high


def test_without_values_the_ends_are_those_of_the_axis():
    assert ends(ERROR, [nan, inf, 0.0]) == (1e-17, 1.0, [1e-17, 1.0])


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node, which runs JavaScript")
def test_the_page_computes_the_same_ends():
    rng = random.Random(0)
    axes = [TIME, SIZE, ERROR]
    cases = [
        (axis, [10 ** rng.uniform(-9, 4) for _ in range(rng.randrange(4))])
        for axis in axes
        for _ in range(60)
    ]
    cases += [(TIME, [5e-324, 1.7e308]), (TIME, [1.7e308]), (TIME, [5e-324])]
    asked = [
        [{"log": a.log, "ticks": a.ticks, "empty": a.empty}, [*values, None, 0]]
        for a, values in cases
    ]
    code = (PAGE / "axes.js").read_text()
    code += f"\nconsole.log(JSON.stringify({json.dumps(asked)}.map(([a, v]) => ends(a, v))))"
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True)
    for (axis, values), (low, high, ticks) in zip(cases, json.loads(done.stdout), strict=True):
        expected = ends(axis, values)
        assert close(low, expected[0])
        assert close(high, expected[1])
        assert len(ticks) == len(expected[2])
        assert all(map(close, ticks, expected[2]))
