"""The options of `--slurm`, which are those of Slurm's own command `sbatch`."""

import re
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache

from mssbench.errors import RunError, unknown

# What each option means for an array of tasks is decided by mssbench; another value would break it.
_DECIDED = {
    "clusters": "mssbench asks this cluster alone what has become of its jobs",
    "array": "the number of tasks follows from the number of shards",
    "error": "the output of each task goes to a file of its own",
    "job-name": "mssbench finds its jobs by a name of its own",
    "nodes": "each task runs on one node",
    "no-requeue": "it is set anyway: mssbench submits again what was not measured",
    "ntasks": "each task is one process, which starts the others",
    "ntasks-per-node": "each task is one process, which starts the others",
    "output": "the output of each task goes to a file of its own",
    "open-mode": "the output of each task goes to a file of its own",
    "parsable": "mssbench reads what sbatch prints",
    "quiet": "mssbench reads what sbatch prints",
    "requeue": "mssbench submits again what was not measured",
    "signal": "mssbench ends a cell that takes too long by itself",
    "test-only": "mssbench waits for what it submits",
    "wait": "mssbench waits for its jobs by itself",
    "wrap": "mssbench submits its own script",
}
# Short options of sbatch, which people know from its manual.
_SHORT = {
    "A": "account",
    "c": "cpus-per-task",
    "C": "constraint",
    "G": "gpus",
    "M": "clusters",
    "p": "partition",
    "q": "qos",
    "t": "time",
    "w": "nodelist",
    "x": "exclude",
}
_ASKS_FOR_GPUS = ("gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket")

Options = Mapping[str, str | bool]  # by the long name of the option; True for one without a value


def parse(texts: Iterable[str]) -> dict[str, str | bool]:
    """Return the options of sbatch in the texts of `--slurm`, such as `partition=gpu`.

    A text without `=`, such as `exclusive`, is an option without a value. Leading dashes may be
    there or not, and an underscore stands for a dash.
    Raises RunError for an empty name, an option that mssbench decides by itself, or one that the
    sbatch of this cluster does not have.
    """
    options: dict[str, str | bool] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().lstrip("-")
        name = _SHORT.get(name, name).replace("_", "-")
        if not name or (equals and not value.strip()) or not text.isprintable():
            raise RunError(
                f"--slurm {text!r}: write KEY=VALUE, such as partition=gpu, or the name of an "
                "option without a value, such as exclusive."
            )
        if name in _DECIDED:
            raise RunError(f"--slurm {text}: {name} cannot be chosen, because {_DECIDED[name]}.")
        known = _known()
        if known and name not in known:
            raise RunError(f"--slurm {text}: {unknown('option of sbatch', name, known)}")
        options[name] = value.strip() if equals else True
    return options


def asks_for_gpus(options: Options) -> bool:
    """Whether the options ask Slurm for a GPU, so that `--device auto` means cuda."""
    generic = str(options.get("gres", ""))
    named = any(word.split(":")[0] in ("gpu", "mig") for word in generic.split(","))
    return named or any(name in options for name in _ASKS_FOR_GPUS)


@cache
def _known() -> frozenset[str]:
    """Return the long options that this cluster's sbatch has; empty if it does not tell."""
    try:
        done = subprocess.run(
            ["sbatch", "--help"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    return frozenset(re.findall(r"--([a-z][a-z-]+)", done.stdout))
