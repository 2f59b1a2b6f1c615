"""`mssbench train`: train small networks that differ in the root alone."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from mssbench.analysis import conclusions, learning_rates, trainings
from mssbench.analysis.training_reading import load
from mssbench.cli.claims import judged, stated
from mssbench.cli.options import (
    Engine,
    EngineOption,
    Json,
    ShardsOption,
    SlurmOptions,
    refuse_options_of_a_cluster,
)
from mssbench.cli.output import output, output_json
from mssbench.console.terminal import make_console
from mssbench.console.training_claims import summary
from mssbench.console.training_progress import TrainingProgress
from mssbench.console.trainings import rates, tables
from mssbench.errors import ExitCode
from mssbench.records import units
from mssbench.records.measurement import Status
from mssbench.results.facts_file import read_facts
from mssbench.results.trainings import TRAININGS

EXAMPLES = ("mssbench train train_smoke", "mssbench train my_suite.toml --at-once 2")


def _suites(incomplete: str) -> list[str]:
    """Return the names of shipped suites that start with the typed text, for shell completion."""
    from mssbench.suite.shipped import of_trainings

    return [name for name in of_trainings() if name.startswith(incomplete)]


def command(
    suite: Annotated[
        str,
        typer.Argument(
            metavar="SUITE",
            help="The suite of trainings: the name of one that is shipped, such as train_smoke, or "
            "a TOML file.",
            autocompletion=_suites,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Folder of the results.",
            show_default="results/SUITE, or results/SUITE-shard-I-of-N",
        ),
    ] = None,
    at_once: Annotated[
        int, typer.Option(min=1, help="How many networks are trained at the same time.")
    ] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each training.")] = 1,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Train everything again, also what is there already.")
    ] = False,
    capture: Annotated[
        bool,
        typer.Option(
            "--capture",
            help="Write the covariances that each network pools for 32 test inputs, before the "
            "first step and after each epoch, for --matrices of mssbench run. What is trained "
            "already is left out, unless --fresh is given.",
        ),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Train only part I of N parts of the networks, such as 2/4, into a folder of its "
            "own. Every machine deals the networks in the same way, and `mssbench merge` joins the "
            "folders of all parts.",
            show_default="all networks",
        ),
    ] = None,
    engine: EngineOption = Engine.LOCAL,
    slurm: SlurmOptions = [],  # noqa: B006
    shards: ShardsOption = None,
    as_json: Json = False,
) -> None:
    """Train small networks that differ in the root alone, and compare their accuracy.

    All methods of a seed start from the same weights and see the same data in the same order. Steps
    that are not finite are counted and skipped. A run that was stopped or killed is resumed by the
    same command, with the same numbers. Exit code: 0 fine, 2 misuse, 4 a training crashed, 6
    nothing was trained, 130 interrupted.
    """
    from mssbench.machine import facts
    from mssbench.run import training as runner
    from mssbench.suite.shards import folder_name, parse
    from mssbench.suite.training import load as load_suite

    refuse_options_of_a_cluster(engine, {"--slurm": slurm, "--shards": shards}, shard)
    chosen = load_suite(suite)
    if shard is not None:
        chosen = chosen.sharded(parse(shard))
    folder = out or Path("results") / folder_name(chosen.name, chosen.shard)
    log = make_console(stderr=True)
    if engine is Engine.SLURM:
        from mssbench.cli.train_on_slurm import train

        rows, stopped = train(
            chosen,
            folder,
            slurm,
            shards,
            at_once=at_once,
            threads=threads,
            fresh=fresh,
            capture=capture,
            log=log,
        )
        if stopped and not (folder / TRAININGS).exists():
            raise typer.Exit(ExitCode.INTERRUPTED)
        code = _code_on_slurm([row["status"] for row in rows], stopped=stopped)
    else:
        with TrainingProgress(log) as progress:
            rows = runner.run(
                chosen,
                folder,
                at_once=at_once,
                threads=threads,
                facts=facts.describe(),
                fresh=fresh,
                capture=capture,
                begin=progress.begin,
                watch=progress,
            )
        code = _code([row["status"] for row in rows])

    if as_json:
        output_json("train", {"rows": rows})
    else:
        output(report(folder))
    raise typer.Exit(code)


def report(folder: Path) -> Iterator[RenderableType]:
    """Yield the tables of the trainings that have ended, and the machine that trained them.

    The last sentence says how many are missing, if the run was stopped.
    """
    every, curves, _ = load(folder)
    of_trainings = every[every["status"] != Status.INTERRUPTED]
    yield from tables(trainings.groups(of_trainings, curves))
    yield from rates(learning_rates.grids(every))
    if not trainings.equal_starts(of_trainings):
        yield Text(
            "The methods of a seed did not all start from the same weights and data, so that their "
            "differences mean nothing.",
            style="bold yellow",
        )
    if stated(folder):
        yield summary(judged(folder), shlex.quote(str(folder)))
    if len(of_trainings):
        for sentence in conclusions.machines(of_trainings, read_facts(folder)):
            yield Text(sentence, style="dim")
    if missing := len(every) - len(of_trainings):
        are = "is" if missing == 1 else "are"
        yield Text(
            f"Stopped: {missing} of {units.count(len(every), 'training')} {are} missing. The same "
            f"command resumes {'it' if missing == 1 else 'them'}.",
            style="bold yellow",
        )


def _code_on_slurm(statuses: list[str], *, stopped: bool) -> int:
    """Return the exit code of a run on a cluster. stopped: whether the user has ended it.

    Trainings without a result count as broken, unless the user has ended the run.
    """
    if stopped:
        return ExitCode.INTERRUPTED
    if Status.INTERRUPTED in statuses:
        return ExitCode.BROKEN
    return _code(statuses)


def _code(statuses: list[str]) -> int:
    """Return the exit code of a run whose trainings ended with these statuses."""
    if Status.INTERRUPTED in statuses:
        return ExitCode.INTERRUPTED
    if any(status in (Status.CRASHED, Status.TIMEOUT, Status.OOM) for status in statuses):
        return ExitCode.BROKEN
    trained = any(status in (Status.OK, Status.NONFINITE) for status in statuses)
    return ExitCode.PASS if trained else ExitCode.NOTHING_MEASURED
