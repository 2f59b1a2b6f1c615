"""The parts of pages that come from committed runs: what commands print of them, and figures."""

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from of_code import ROOT, table

import mssbench
from mssbench.cli import baseline, check, claims, compare, export, listing, pareto, run, show
from mssbench.cli.show import View
from mssbench.console.terminal import plain
from mssbench.records import units
from mssbench.results import baselines

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import RenderableType

WIDTH = 108  # characters of an example: a block of code on the site shows as many without scrolling
QUICK = Path("results/cpu-2core-quick")
STANDARD = Path("results/cpu-2core-standard")
ISQRT = Path("results/cpu-2core-paper_isqrt_2018")
SVD = Path("results/cpu-2core-paper_svd_2021")
SMOKE = Path("results/baselines/smoke")
_STEPS = "library == 'torch' and forward in ['eigh', 'pade'] and size == 64 and phase == 'step'"
_LISTED = ("loewner", "svd_clip")
_CUT = "..."  # stands for the rest of an output that is longer than an example needs


@contextmanager
def as_in_a_pipe() -> Iterator[None]:
    """Return a context in which output is that of a pipe, of the width of an example.

    Paths are relative to the root of the checkout in it.
    """
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        with chdir(ROOT), redirect_stdout(io.StringIO()):
            yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _printed(
    command: str, output: "Callable[[], Iterable[RenderableType]]", lines: int | None = None
) -> str:
    """Return a block of code with a command and what it prints.

    output: returns what the command prints. lines: the number of lines that are kept; all if None.
    """
    with as_in_a_pipe():
        printed = plain(output()).strip("\n").splitlines()
    if lines is not None and len(printed) > lines:
        printed = [*printed[:lines], _CUT]
    return "\n".join(["```text", f"$ {command}", *printed, "```"])


def decision() -> str:
    """Return what `mssbench run quick` prints at its end."""
    return _printed("mssbench run quick", lambda: run.tables(QUICK))


def shown() -> str:
    """Return the table of the steps of `quick`."""
    where = "phase == 'step' and function == 'sqrt'"
    view = View(QUICK, where=where)
    return _printed(f'mssbench show {QUICK} --where "{where}"', lambda: show.show(view))


def shown_by_problem() -> str:
    """Return the table of errors by problem."""
    where = "phase == 'step' and size == 64 and function == 'sqrt' and backward == 'autodiff'"
    view = View(QUICK, rows=["pair"], columns=["problem"], value="gradient_error", where=where)
    options = "--rows pair --columns problem --value gradient_error"
    command = f'mssbench show {QUICK} {options} --where "{where}"'
    return _printed(command, lambda: show.show(view))


def fronts() -> str:
    """Return the Pareto fronts of the steps of `quick` at n = 64."""
    where = "phase == 'step' and size == 64 and function == 'sqrt'"
    command = f'mssbench pareto {QUICK} --where "{where}" --all'
    return _printed(command, lambda: pareto.show(QUICK, where, everything=True))


def verdicts_on_claims() -> str:
    """Return the first claims of Li et al., CVPR 2018, with their verdicts."""
    return _printed(f"mssbench claims {ISQRT}", lambda: claims.report(ISQRT), lines=33)


def checked() -> str:
    """Return what `check` prints of a copy of the baseline in which four rows were changed."""

    def output() -> "Iterable[RenderableType]":
        with _changed(SMOKE, _worse) as copy:
            yield from check.tables(check.checked(copy, str(SMOKE), [], [], None), "simple")

    return _printed("mssbench check results/ci --baseline smoke", output)


def compared() -> str:
    """Return what `compare` prints of `quick` and a copy with other times of one method."""

    def output() -> "Iterable[RenderableType]":
        with _changed(QUICK, _slower) as copy:
            result = compare.compared(QUICK, copy, [], [], _STEPS)
            yield from compare.tables(result, "intervals")

    command = "mssbench compare results/before results/after --display intervals"
    return _printed(f'{command} --only "{_STEPS}"', output)


@contextmanager
def _changed(source: Path, change: Callable[[list[dict[str, str]]], None]) -> Iterator[Path]:
    """Return a context with a copy of a run whose rows a function has changed in place."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / source.name
        shutil.copytree(source, copy)
        path = copy / "table.csv"
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        names = list(rows[0])
        change(rows)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        yield copy


def _row(rows: Sequence[dict[str, str]], **key: str) -> dict[str, str]:
    """Return the first row with these values."""
    return next(row for row in rows if all(row[name] == value for name, value in key.items()))


def _worse(rows: list[dict[str, str]]) -> None:
    """Make one row wrong, give one more operations, let one crash, and leave one out."""
    step = {"library": "torch", "function": "sqrt", "phase": "step"}
    forward = step | {"phase": "forward", "backward": "none"}

    wrong = _row(rows, **step, forward="svd", backward="loewner")
    wrong["gradient_error"] = repr(1e4 * float(wrong["gradient_error"]))
    costly = _row(rows, **forward, forward="newton_schulz")
    costly["operators"] = str(int(costly["operators"]) + 12)

    crashed = _row(rows, **forward, forward="taylor")
    crashed |= {"status": "crashed", "reason": "LinAlgError: no convergence"}
    place = [*rows[0]].index("reason") + 1
    crashed |= dict.fromkeys([*rows[0]][place : [*rows[0]].index("fingerprint")], "")
    rows.remove(_row(rows, **forward, forward="prism"))


def _slower(rows: list[dict[str, str]]) -> None:
    """Make eigh + loewner twice as slow, and pade a little."""
    for row in rows:
        factor = {"eigh": 2.0, "pade": 1.05}.get(row["forward"], 1.0)
        for name in ("min", "q1", "median", "q3", "low", "high"):
            column = f"seconds_{name}"
            if row[column]:
                row[column] = repr(factor * float(row[column]))


def listed() -> str:
    """Return two entries of `list backwards`."""
    records = [r for r in listing.listing("backwards", []) if r["backward"] in _LISTED]
    return _printed("mssbench list backwards", lambda: listing.table("backwards", records))


def kept() -> str:
    """Return the list of the baselines that are committed."""
    with as_in_a_pipe():
        known = baselines.known()
    records = [record for record in known if record["name"] == SMOKE.name]
    return _printed("mssbench baseline list", lambda: baseline.table(records))


def latex() -> str:
    """Return the tables of `export --to latex` for one place."""
    only = "phase == 'step' and size == 64 and function == 'sqrt'"
    with as_in_a_pipe():
        text = export.exported(QUICK, "latex", only).strip("\n")
    return f'```text\n$ mssbench export {QUICK} --to latex --only "{only}"\n{text}\n```'


def by_condition() -> str:
    """Return the gradient errors of some pairs by condition number, n = 64, from `standard`."""
    pairs = {
        "eigh + loewner, float64": ("eigh", "loewner", None, "", "float64"),
        "eigh + loewner": ("eigh", "loewner", None, "", "float32"),
        "svd + autodiff": ("svd", "autodiff", None, "", "float32"),
        "newton_schulz + lyapunov_newton_schulz, 15 and 12 steps": (
            "newton_schulz",
            "lyapunov_newton_schulz",
            15,
            "",
            "float32",
        ),
        "minimax_hybrid + autodiff": ("minimax_hybrid", "autodiff", None, "", "float32"),
        "newton_schulz + autodiff, 5 steps, trace": (
            "newton_schulz",
            "autodiff",
            5,
            "norm=trace",
            "float32",
        ),
        "pade + lyapunov_newton_schulz (MPA)": (
            "pade",
            "lyapunov_newton_schulz",
            None,
            "",
            "float32",
        ),
    }
    conditions = [10.0**i for i in range(1, 8)]
    frame = _loaded(STANDARD)
    steps = frame[
        (frame["library"] == "torch")
        & (frame["phase"] == "step")
        & (frame["clock"] == "wall")
        & (frame["size"] == 64)
        & (frame["batch"] == 16)
    ]

    rows = []
    for name, (forward, backward, iterations, options, precision) in pairs.items():
        of_pair = steps[
            (steps["forward"] == forward)
            & (steps["backward"] == backward)
            & (steps["precision"] == precision)
            & steps["options"].str.contains(options, regex=False)
        ]
        if iterations is not None:
            of_pair = of_pair[of_pair["iterations"] == iterations]
        errors = []
        for condition in conditions:
            near = of_pair["problem"].str.startswith("logspec") & of_pair["condition"].between(
                condition / 2, 2 * condition
            )
            errors.append(_error(of_pair.loc[near, "gradient_error"].max()))
        rows.append((name, *errors))
    return table(["pair", *(f"κ 1e{i}" for i in range(1, 8))], rows)


def five_steps() -> str:
    """Return errors and amplification of Newton–Schulz by its steps, from `paper_isqrt_2018`."""
    frame = _loaded(ISQRT)
    steps = frame[(frame["phase"] == "step") & (frame["clock"] == "wall")]
    problems = {
        "wishart(ratio=2)": "512 positions, κ 35",
        "wishart(ratio=0.766)": "196 positions, singular",
        "pooled_features(positions=49, noise=0.3)": "49 positions, singular",
    }
    rows = []
    for problem, spoken in problems.items():
        for name, forward, backward, iterations in (
            *((f"{k} steps", "newton_schulz", "newton_schulz_adjoint", k) for k in (5, 10, 13, 16)),
            ("eigh + loewner", "eigh", "loewner", None),
        ):
            row = steps[
                (steps["problem"] == problem)
                & (steps["forward"] == forward)
                & (steps["backward"] == backward)
            ]
            row = row if iterations is None else row[row["iterations"] == iterations]
            (found,) = row.to_dict("records")
            rows.append(
                (
                    spoken,
                    name,
                    _error(found["root_error"]),
                    _error(found["gradient_error"]),
                    units.digits(found["amplification"], 2),
                )
            )
    return table(["matrices", "method", "root error", "gradient error", "amplification"], rows)


def released() -> str:
    """Return gradient errors and amplification of released SVD layers, from `paper_svd_2021`."""
    frame = _loaded(SVD)
    steps = frame[
        (frame["phase"] == "step")
        & (frame["clock"] == "wall")
        & (frame["problem"] == "wishart(ratio=0.766)")
    ]
    pairs = {
        "SVD-Original, as released": "svd_original_released",
        "SVD-Trunc, as released": "svd_trunc_released",
        "SVD-Padé, as released": "svd_pade_released",
        "svd + loewner": "loewner",
    }
    rows = []
    for name, backward in pairs.items():
        cells = []
        for precision in ("float32", "float64"):
            row = steps[(steps["backward"] == backward) & (steps["precision"] == precision)]
            (found,) = row.to_dict("records")
            cells += [_error(found["gradient_error"]), _error(found["amplification"])]
        rows.append((name, *cells))
    heads = [f"{what}, {p}" for p in ("float32", "float64") for what in ("error", "amplification")]
    return table(["layer", *heads], rows)


def _loaded(path: Path) -> "pd.DataFrame":
    return mssbench.load(ROOT / path)


def _error(x: Any) -> str:
    """Return an error, or a dash if it is not known."""
    return units.error(None if x != x else float(x))


PARTS: Mapping[str, Callable[[], str]] = {
    "decision": decision,
    "shown": shown,
    "shown-by-problem": shown_by_problem,
    "fronts": fronts,
    "claims": verdicts_on_claims,
    "checked": checked,
    "compared": compared,
    "listed": listed,
    "baselines": kept,
    "latex": latex,
    "by-condition": by_condition,
    "five-steps": five_steps,
    "released": released,
}
