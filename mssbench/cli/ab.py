"""`mssbench ab`: compare two interpreters, revisions or methods by sampling them alternately."""

import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from mssbench.ab import effects, run
from mssbench.ab.run import Plan, Progress
from mssbench.ab.sides import comparable, contestant, contests
from mssbench.cli.judging import closing, judging
from mssbench.cli.options import (
    Also,
    Device,
    Display,
    Engine,
    EngineOption,
    FailOnBase,
    GitHub,
    Json,
    KeyOption,
    KindOfMatrices,
    Matrices,
    OnlyCells,
    Set,
    SlurmOptions,
    SuiteArgument,
    refuse_options_of_a_cluster,
    without,
)
from mssbench.cli.output import output, output_json
from mssbench.compare.judgement import Judged, judgement_data
from mssbench.compare.verdict import QUIET
from mssbench.console import comparison
from mssbench.console.comparison import check_display
from mssbench.console.terminal import make_console
from mssbench.engines.start import Setup
from mssbench.machine import linux
from mssbench.records import units
from mssbench.records.policy import Policy
from mssbench.results.labels import where
from mssbench.run.signals import Takedown
from mssbench.suite import select, thresholds
from mssbench.suite.suite import Suite

# Short warm-up and one pass: `ab` repeats every cell in several pairs of processes, so that their
# number, rather than the length of one measurement, averages the noise.
_POLICY = Policy(warmup_seconds=0.02, passes=1)
# Limit of time of a job that compares: far longer than the minutes that most comparisons take, and
# short enough for the queues of most clusters.
_MINUTES_ON_SLURM = 120
_NAMED_ROWS = 5  # unconfirmed slowdowns that the text names, to keep it short; --json has all


class Inconclusive(StrEnum):
    """Whether an unclear comparison exits with the code of a pass, 0, or with its own code, 3."""

    PASS = "pass"  # noqa: S105  (a word, not a secret)
    FAIL = "fail"


EXAMPLES = (
    "mssbench ab smoke --base main --new HEAD",
    'mssbench ab quick --base "torch/eigh + loewner" --new "torch/svd + autodiff"',
)


def command(
    suite: SuiteArgument,
    base: Annotated[
        str,
        typer.Option(
            help="The side that NEW is compared with: a Python interpreter that has mssbench, a "
            "git revision, or a method of the suite as `mssbench show` writes it."
        ),
    ],
    new: Annotated[
        str,
        typer.Option(help="The side that may be slower than BASE: named in the same ways as BASE."),
    ],
    set_: Set = [],  # noqa: B006
    only: OnlyCells = None,
    matrices: Matrices = None,
    key: KeyOption = None,
    kind: KindOfMatrices = None,
    device: Device = None,
    also: Also = [],  # noqa: B006
    fail_on: FailOnBase = [],  # noqa: B006
    seed: Annotated[
        str | None,
        typer.Option(
            help="Seed of the random order of samples; printed, so that a comparison can be "
            "repeated with it.",
            show_default="a new one",
        ),
    ] = None,
    inconclusive: Annotated[
        Inconclusive,
        typer.Option(help="How to exit if the outcome is unclear: pass (code 0) or fail (code 3)."),
    ] = Inconclusive.FAIL,
    engine: EngineOption = Engine.LOCAL,
    slurm: SlurmOptions = [],  # noqa: B006
    display: Display = "simple",
    github: GitHub = False,
    as_json: Json = False,
) -> None:
    """Find out whether NEW is slower than BASE, by measuring both in turn on this machine.

    It measures all cells in three pairs of processes, one process of each side, and then the cells
    that look different again, in fresh pairs. It also compares BASE with itself, to see the noise.
    Exit code: 0 pass, 1 regression, 2 misuse, 3 unclear, 4 cells are broken or gone, 5 the inputs
    differ, 6 nothing was measured, 130 interrupted.
    """
    check_display(display)
    linux.require()
    if engine is Engine.SLURM:
        raise typer.Exit(_on_slurm(slurm))
    refuse_options_of_a_cluster(engine, {"--slurm": slurm}, None)
    with judging("ab", told=github, as_json=as_json) as tell:
        given_matrices = select.own_matrices(matrices, key, kind)
        chosen = select.choose(suite, set_, only, None, device, also, own=given_matrices)
        log = make_console(stderr=True)
        for line in select.read_from_outside(chosen):
            log.print(Text(line), soft_wrap=True)
        chosen_seed = seed if seed is not None else secrets.token_hex(4)
        result = compare(chosen, base, new, also, fail_on, chosen_seed, log)
        code = result.outcome.code(unclear_passes=inconclusive is Inconclusive.PASS)
        tell(result, code)

    if as_json:
        output_json("ab", data(result, code))
    else:
        output(tables(result, display))
    raise typer.Exit(code)


def _on_slurm(texts: Sequence[str]) -> int:
    """Run this command on one node of a cluster, and return its exit code.

    Both sides are then measured in turn on the same machine. texts: those of --slurm.
    """
    from mssbench.engines.slurm import options
    from mssbench.run.slurm.command import run_there

    chosen = options.parse(texts)
    log = make_console(stderr=True)
    with log.status("submitting") as status:
        return run_there(
            without(sys.argv[1:], "--engine", "--slurm"),
            chosen,
            minutes=_MINUTES_ON_SLURM,
            beside=Path.cwd(),
            say=status.update,
        )


def compare(
    suite: Suite,
    base: str,
    new: str,
    also: Sequence[Path],
    fail_on: Sequence[str],
    seed: str,
    log: Console,
) -> Judged:
    """Compare two sides on the cells of a suite. An interrupted comparison returns a result too.

    base, new: the two sides, as in --base and --new. also: the user's files of methods. fail_on:
    the limits of --fail-on. seed: of the random order of samples. log: where progress is printed.
    Raises RunError for a side that is neither an interpreter with mssbench, nor a revision of the
    current checkout, nor a method of the suite; and GateError for a limit that cannot be parsed.
    """
    suite, left_out = comparable(suite)
    limits = (*thresholds.of_suite(suite.document), *thresholds.of_words(fail_on))
    device = suite.cells[0].device
    settings = {"policy": asdict(_POLICY), "max_error": suite.measure["max_error"]}
    files = tuple(str(path.resolve()) for path in also)
    common = Setup(settings, files, suite.measure["timeout_seconds"], isolated=True)

    with Takedown() as takedown, ExitStack() as stack:
        base_side, new_side = (
            stack.enter_context(contestant(flag, name, suite, common))
            for flag, name in (("base", base), ("new", new))
        )
        plan = Plan(
            contests(base_side, new_side), base_side.setup, new_side.setup, device, seed, limits
        )
        cells = units.count(len(plan.contests), "cell")
        log.print(
            Text(
                f"base: {base_side.kind} {base_side.name}; "
                f"new: {new_side.kind} {new_side.name}; {cells}; --seed {seed}"
            )
        )

        notes = tuple(side.note for side in (base_side, new_side) if side.note)
        for note in notes:
            log.print(Text(note, "yellow"), soft_wrap=True)

        with log.status("starting") as status:
            announced: set[str] = set()

            def watch(now: Progress) -> None:
                if now.stage.startswith(run.WAITING) and now.stage not in announced:
                    announced.add(now.stage)
                    log.print(Text(now.stage))  # also where no status is shown
                status.update(
                    f"{now.stage}, pair {now.pair} of {now.pairs}, cell {now.done} of {now.of}"
                )

            result = run.run(plan, watch, takedown.asked)

    return replace(result, remarks=(*left_out, *notes, *result.remarks))


def tables(result: Judged, display: str) -> Iterator[RenderableType]:
    """Yield the verdicts on the rows, how far base differs from itself, and reasons for doubt.

    The last line has a fixed form, for scripts.
    """
    yield Text(_machines(result), "dim")
    shown = [c for c in result.judgements if display != "simple" or c.verdict not in QUIET]
    yield from comparison.judgements(shown, display)
    yield from _look(result)
    yield from _null(result)

    for doubt in result.doubts:
        yield Text(f"unclear: {doubt}", "yellow")
    for remark in result.remarks:
        yield Text(remark, "dim")
    yield comparison.verdicts(result.verdicts)
    yield closing(result)


def _look(result: Judged) -> Iterator[RenderableType]:
    """Yield the slowdowns that were too small or too scattered to be confirmed."""
    if not result.worth_a_look:
        return

    named = [
        f"{c.pair.row['method']}, {where(c.pair.row)}: {units.ratio(c.ratio or 1.0)}"
        for c in result.worth_a_look
    ]

    more = [f"and {len(named) - _NAMED_ROWS} more"] if len(named) > _NAMED_ROWS else []
    lines = ["worth a look, though nothing was confirmed:", *named[:_NAMED_ROWS], *more]
    yield Text("\n  ".join(lines))


def _null(result: Judged) -> Iterator[RenderableType]:
    """Yield how far base differs from itself, and the smallest slowdown that is detectable."""
    if not result.null.rows:
        return

    rows = units.count(result.null.rows, "row")
    detectable = sorted(c.detectable for c in result.judgements if c.detectable is not None)
    sensitivity = (
        f"; a slowdown of {100 * detectable[len(detectable) // 2]:.0f} % is detectable"
        if detectable
        else ""
    )
    yield Text(
        f"base compared with itself, {rows}: differs by {100 * result.null.bias:.1f} % in the "
        f"median, and by {100 * result.null.floor:.1f} % once in twenty pairs{sensitivity}",
        "dim",
    )


def _machines(result: Judged) -> str:
    """Return the differences between the versions of the two sides: `torch 2.11.0 -> 2.13.0`."""
    base, new = (result.facts.get(name, {}) for name in (effects.BASE, effects.NEW))
    base_versions, new_versions = (
        {k: side.get(k) for k in ("python", "commit")} | side.get("versions", {})
        for side in (base, new)
    )

    differ = [
        f"{name} {base_versions.get(name) or 'none'} -> {new_versions.get(name) or 'none'}"
        for name in sorted(base_versions.keys() | new_versions.keys())
        if base_versions.get(name) != new_versions.get(name)
    ]
    return ", ".join(differ) or "both sides have the same versions"


def data(result: Judged, code: int) -> dict[str, Any]:
    """Return the whole result for JSON. code: the exit code of the process."""
    return {
        "verdict": result.outcome,
        "exit_code": code,
        "verdicts": dict(result.verdicts),
        "doubts": list(result.doubts),
        "remarks": list(result.remarks),
        "worth_a_look": [judgement_data(c) for c in result.worth_a_look],
        "null": {
            "rows": result.null.rows,
            "bias": result.null.bias,
            "floor": result.null.floor,
            "confirmed": list(result.null.confirmed),
        },
        "facts": result.facts,
        "rows": [judgement_data(c) for c in result.judgements],
    }
