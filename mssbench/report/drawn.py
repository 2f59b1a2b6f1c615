"""One table of several runs, with the columns that figures and the report show.

Whatever has to be judged is judged here, by the rules of the terminal tables: the status that a row
has in comparisons, its standing on the Pareto front, and which methods are fastest. The figures and
the page only select rows and draw them.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mssbench.analysis import kinds, pareto
from mssbench.analysis.blocks import SPLIT, blocks
from mssbench.analysis.decision import is_regularized
from mssbench.analysis.naming import short_names
from mssbench.analysis.trust import trust
from mssbench.errors import RunError, TableError
from mssbench.records.facts import canonical
from mssbench.report.packing import as_utf8
from mssbench.results import conditions
from mssbench.results.labels import METHOD, with_labels, with_outcomes
from mssbench.results.views import Rows

if TYPE_CHECKING:
    import pandas as pd

    from mssbench.results.run import Run

# Columns whose values are equal in all rows of one competition: only the method and the seed vary.
COMPETITION = (*SPLIT, "size", "problem")
BEST, TIED = "best", "tied"  # values of the column `fastest`


class Measured(NamedTuple):
    """The rows of one run, with its name and its facts as in `Run.facts`."""

    name: str
    rows: "pd.DataFrame"
    facts: Mapping[str, Any]


def measured(runs: Sequence["Run"]) -> list[Measured]:
    """Return the rows of some runs, with the labels of their methods, and unique names of the runs.

    Rows of cells that the suite of a run no longer has are left out. Raises TableError if a run has
    no table, and RunError for a damaged file of facts or a run that is named twice.
    """
    names = unique_names(runs)
    return [
        Measured(name, with_labels(run.current), run.facts)
        for name, run in zip(names, runs, strict=True)
    ]


def chosen(runs: Sequence[Measured], where: str, option: str) -> list[Measured]:
    """Return the runs with the rows for which a condition holds, without runs that have none.

    option: the name of the option that holds the condition, with which messages begin. Raises
    TableError for a condition that is wrong, or if no row is left.
    """
    import pandas as pd

    kept = [run._replace(rows=conditions.select(run.rows, where, option)) for run in runs]
    if all(run.rows.empty for run in kept):
        # It raises an error with the values that the columns have.
        conditions.chosen(pd.concat([run.rows for run in runs]), where, option)
    return [run for run in kept if len(run.rows)]


def drawn(runs: Sequence["Run"]) -> "pd.DataFrame":
    """Return the rows of some runs in one table with columns for figures, see `table_of`.

    Raises the errors of `measured` and of `table_of`.
    """
    return table_of(measured(runs))


def table_of(runs: Sequence[Measured]) -> "pd.DataFrame":
    """Return the rows of some runs in one table, with columns for figures. Seconds are per call.

    Beside the columns of the schema and those of `with_outcomes`, there are

    * `run`: the name of the run, which is unique
    * `label`, `method`: the full name of the method, and a short one
    * `family`: the forward, with its library unless that is torch
    * `series`: the short name without the number of iterations, which is equal for all steps of an
      iterative method
    * `matrices`: the problem with its measured condition number, such as `κ 1e6 · logspec`
    * `hardness`: the rank of the problem by its condition number, from 0
    * `kind`: easy, hard, singular or repeated, see analysis/kinds.py
    * `standing`: front, undecided or beaten, see analysis/pareto.py; empty unless the row is ok
      and the times of the run can be compared
    * `fastest`: best, or tied with the best, among methods that are ok; else empty
    * `times_limit`: the time divided by the shortest time that the machine allows for this work
    * `machine`: the hash of the machine and its libraries, by the rules of this version
    * `started`: when the run began, in ISO 8601; `moment`: its date and commit, unique

    Raises TableError if no run has a row.
    """
    import pandas as pd

    parts, moments = [], []
    for run in runs:
        rows = with_outcomes(run.rows)
        rows = rows.rename(columns={"method": "label"}).assign(run=run.name, machine=_machines(run))
        if len(rows):
            reliability = trust(rows, run.facts)
            moments.append(_moment(run))
            parts.append(
                rows.assign(
                    started=moments[-1].started,
                    # The rows of each machine compete among themselves.
                    standing=_standings(rows, ranked=reliability.comparable or reliability.mixed),
                    fastest=_fastest(rows, ranked=reliability.comparable),
                )
            )

    if not parts:
        raise TableError("the runs have no row, so that there is nothing to draw.")
    table = pd.concat(parts, ignore_index=True)
    table["moment"] = table["run"].map(_written(moments))
    return _described(_named(table))


class HasFolder(Protocol):
    """A run of any kind."""

    @property
    def folder(self) -> Path:
        """The folder of the run."""


def unique_names(runs: Sequence[HasFolder]) -> list[str]:
    """Return a name of each run: that of its folder, with the parent folder if names are equal.

    Raises RunError for a folder that is named twice, whose rows would be counted twice.
    """
    resolved = [run.folder.resolve() for run in runs]
    for i, run in enumerate(runs):
        if resolved[i] in resolved[:i]:
            path = as_utf8(str(run.folder))
            raise RunError(f"{path} is named twice: name each run once.")
    folders = [Path(as_utf8(str(folder))) for folder in resolved]
    counts = Counter(folder.name for folder in folders)
    names = [
        folder.name if counts[folder.name] == 1 else f"{folder.parent.name}/{folder.name}"
        for folder in folders
    ]
    again = Counter(names)
    return [
        name if again[name] == 1 else str(folder)
        for name, folder in zip(names, folders, strict=True)
    ]


def _machines(run: Measured) -> "pd.Series":
    """Return the hash of the machine and its libraries for each row of a run."""
    hashes = run.rows["environment"]
    known = run.facts["environments"]
    return hashes.map({e: canonical(e, known.get(e)) for e in hashes.unique()})


class Moment(NamedTuple):
    """When a run began, in ISO 8601, and the commit of its code; each is empty if unknown."""

    run: str
    started: str
    commit: str


_DATE, _MINUTE, _COMMIT = 10, 16, 7  # characters of 2026-11-29, 2026-11-29T12:00 and of a commit


def _moment(run: Measured) -> Moment:
    """Return when a run began. A run that was continued has the date of its first part."""
    known = [run.facts.get("runs", {}).get(run_id, {}) for run_id in run.rows["run_id"].unique()]
    started = min((str(r["started"]) for r in known if r.get("started")), default="")
    machines = [run.facts["environments"].get(e) or {} for e in run.rows["environment"].unique()]
    commit = next((str(m["commit"])[:_COMMIT] for m in machines if m.get("commit")), "")
    return Moment(run.name, as_utf8(started), as_utf8(commit))


def _written(moments: Sequence[Moment]) -> dict[str, str]:
    """Return a text for each run by its name: its date and commit.

    Texts that would be equal also have the time of day, and if they still are, the name of the run.
    """
    texts = {m.run: f"{m.started[:_DATE]} {m.commit}".strip() for m in moments}
    for more in (lambda m: f"{m.started[:_MINUTE].replace('T', ' ')} {m.commit}".strip(), None):
        counts = Counter(texts.values())
        for m in moments:
            if counts[texts[m.run]] > 1 or not texts[m.run]:
                texts[m.run] = more(m) if more else f"{texts[m.run]} {m.run}".strip()
    return texts


def _named(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table with the short names of its methods: `method`, `series` and `family`."""
    methods = table[list(METHOD)].drop_duplicates()
    plain = [dict(row) for row in Rows(methods)]
    without_steps = [row | {"iterations": None} for row in plain]
    distinct = list({tuple(row.items()): row for row in without_steps}.values())
    series = {
        tuple(row.items()): name for row, name in zip(distinct, short_names(distinct), strict=True)
    }

    libraries = methods["library"].map(lambda name: "" if name == "torch" else f"{name}/")
    names = methods.assign(
        method=short_names(plain),
        series=[series[tuple(row.items())] for row in without_steps],
        family=(libraries + methods["forward"].astype(str)).astype(str),
    )
    merged = table[list(METHOD)].merge(names, on=list(METHOD), how="left")
    return table.assign(
        **{name: merged[name].to_numpy() for name in ("method", "series", "family")}
    )


def _described(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table with what its problems are like, and with distances to the limit."""
    import pandas as pd

    generators: dict[str, set[str]] = {}
    for problem in table["problem"].unique():
        generators.setdefault(_generator(problem), set()).add(problem)

    spectra = {
        problem: kinds.spectrum(rows) for problem, rows in table.groupby("problem", sort=False)
    }
    hardest = {k: inf if x is None else x.hardest for k, x in spectra.items()}
    order = {problem: i for i, problem in enumerate(sorted(spectra, key=lambda k: (hardest[k], k)))}
    names = {
        problem: " · ".join(
            [
                *([] if spectrum is None else [str(spectrum)]),
                problem if len(generators[_generator(problem)]) > 1 else _generator(problem),
            ]
        )
        for problem, spectrum in spectra.items()
    }

    matrices = table[["problem", "condition", "precision"]].drop_duplicates()
    kind = {
        (problem, _key(condition), precision): kinds.kind_of(problem, condition, precision)
        for problem, condition, precision in matrices.itertuples(index=False, name=None)
    }
    of_rows = [
        kind[problem, _key(condition), precision]
        for problem, condition, precision in table[list(matrices)].itertuples(
            index=False, name=None
        )
    ]
    return table.assign(
        matrices=table["problem"].map(names),
        hardness=table["problem"].map(order),
        # The kind of matrices that were never made is unknown.
        kind=pd.Series(of_rows, table.index).where(table["seconds_median"].notna(), ""),
        times_limit=table["seconds_median"] / table["limit_seconds"],
    )


def _key(condition: float) -> float | None:
    """Return a condition number that can be compared: None for NaN, which is unequal to itself."""
    return condition if condition == condition else None


def _generator(problem: str) -> str:
    """Return a problem without parameters: `logspec|scale` for `logspec(condition=1e6)|scale()`."""
    return "|".join(term.partition("(")[0].strip() for term in problem.split("|"))


def _standings(rows: "pd.DataFrame", *, ranked: bool) -> "pd.Series":
    """Return the standing of each row that is ok among the methods of its competition.

    ranked: whether the times of the run can be compared; if not, no row has a standing.
    """
    import pandas as pd

    standings = pd.Series("", index=rows.index, dtype=object)
    if not ranked:
        return standings
    # A ridge or a cut-off changes the matrix, so that the error is that of another root.
    changed = rows["options"].map(
        {options: is_regularized({"options": options}) for options in rows["options"].unique()}
    )
    able = rows[rows["usable"] & rows["seconds_median"].notna() & ~changed]
    # Times of two machines do not compete.
    places = [*COMPETITION, "seed", "machine"]
    for _, rivals in able.groupby(places, sort=False, dropna=False):
        # The number of a row stands for its method, so that the standing finds its row again.
        contenders = [
            pareto.Contender(str(number), *values)
            for number, *values in rivals[list(_TIMES_AND_ERRORS)].itertuples(name=None)
        ]
        for contender in pareto.placed(contenders):
            standings[int(contender.method)] = str(contender.standing)
    return standings


# The columns of a row that are the fields of a Contender after its name, in their order.
_TIMES_AND_ERRORS = (
    "seconds_median",
    "seconds_low",
    "seconds_high",
    "root_error",
    "gradient_error",
)


def _fastest(rows: "pd.DataFrame", *, ranked: bool) -> "pd.Series":
    """Return `best` or `tied` for the rows of the fastest methods of each competition.

    ranked: whether the times of the run can be compared; if not, no method is called fastest.
    """
    import pandas as pd

    if not ranked or rows["seconds_median"].isna().all():
        return pd.Series("", index=rows.index, dtype=object)

    ranks: dict[tuple[Any, ...], str] = {}
    for block in blocks(rows, ("method",), ("size", "problem")):
        place = tuple(block.common[name] for name in SPLIT)
        for (label,), entries in block.entries.items():
            for (size, problem), entry in entries.items():
                if entry.best:
                    first = entry.ratio is not None and entry.ratio <= 1
                    ranks[*place, size, problem, label] = BEST if first else TIED

    keys = rows[[*COMPETITION, "label"]].itertuples(index=False, name=None)
    return pd.Series([ranks.get(key, "") for key in keys], index=rows.index, dtype=object)
