"""`ab`: decide whether new is slower than base, from pairs of processes sampled alternately.

Base and new are the two sides, or arms, of the comparison; a pair is one process of each. Three
pairs screen every row, and rows that look different (flagged ones) are measured again in nine fresh
pairs. Base and new alternate in being started first. For some rows a third process, the null arm,
runs base again: if base seems to differ from itself, the differences of other rows are in doubt as
well. The rule for times is in `statistics`, and the judgement on a row in `verdicts`.

Each arm runs the harness and the methods of its own interpreter or revision. A slowdown of the
machine affects both arms of a pair, and mostly cancels in their ratio; the null arm shows the
remainder.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any

from mssbench.ab import statistics
from mssbench.ab.duel import Arm, Contest, Duel, Stopped
from mssbench.ab.effects import BASE, NEW, NULL
from mssbench.ab.verdicts import INTERRUPTED, Notes, conclude
from mssbench.compare.judgement import Judged
from mssbench.engines.start import Setup
from mssbench.errors import GateError, RunError
from mssbench.records.cell import Cell
from mssbench.suite.thresholds import COMPARED, TIMES, Rule, why_idle

WAITING = "waiting for the device, held by "  # start of a stage's name; the holder follows


@dataclass(frozen=True)
class Plan:
    """What is compared, how the sides are started, and how often."""

    contests: tuple[Contest, ...]  # the cells of base and new
    base: Setup
    new: Setup
    device: str
    seed: str = "0"
    rules: tuple[Rule, ...] = ()  # limits set by users
    screen_pairs: int = statistics.SCREEN_PAIRS
    confirm_pairs: int = statistics.CONFIRM_PAIRS
    rounds: int = statistics.ROUNDS


@dataclass(frozen=True)
class Progress:
    """The progress of a comparison. A contest is a cell of base and the matching cell of new."""

    stage: str  # `screen`, `confirm`, or WAITING with the holder of the device
    pair: int  # the number of the present pair, from 1
    pairs: int  # pairs of this stage
    done: int  # contests done in this pair
    of: int  # contests of this pair


def run(
    plan: Plan,
    watch: Callable[[Progress], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Judged:
    """Compare base and new in pairs of processes, and return the verdicts on all rows.

    watch: called with the progress. stopped: whether to stop early; then the result is that of the
    samples taken so far. Raises GateError for a user's limit that applies to no row or that `ab`
    cannot check, and RunError if a side does not start.
    """
    _refuse_unfit_limits(plan)
    comparison = _Comparison(plan, watch, stopped)
    ended = ""
    try:
        comparison.complete()
    except Stopped:
        ended = INTERRUPTED
    except RunError as error:
        if not any(note.screen for note in comparison.notes.values()):
            raise
        ended = str(error)

    return conclude(comparison.notes, comparison.facts, ended)


def _refuse_unfit_limits(plan: Plan) -> None:
    """Raise GateError for a limit of a time that `ab` does not compare, or of less than 3 %."""
    for rule in plan.rules:
        if rule.optional or rule.column not in TIMES:
            continue
        if rule.column != COMPARED:
            raise GateError(f"{rule.text!r}: `seconds` is the only time that `ab` compares.")
        if log(rule.factor) < statistics.SCREEN:
            least = 100 * (exp(statistics.SCREEN) - 1)
            raise GateError(f"{rule.text!r}: `ab` detects no less than {least:.0f} %.")


class _Comparison:
    """Runs the pairs of a comparison, and collects their samples."""

    def __init__(
        self, plan: Plan, watch: Callable[[Progress], None], stopped: Callable[[], bool]
    ) -> None:
        self._plan, self._watch, self._stopped = plan, watch, stopped
        self.notes = {c.key: Notes(c, plan.rules) for c in plan.contests}
        self.facts: dict[str, Mapping[str, Any]] = {}  # of each arm's process
        self._codes: dict[str, str] = {}  # digest of the files that each arm runs

        # A random order in which contests are chosen for the null arm, different in each run.
        keys = [c.key for c in plan.contests if BASE in c.cells]
        random.Random(plan.seed).shuffle(keys)  # noqa: S311  (no secret)
        self._ranks = {key: i for i, key in enumerate(keys)}

    def complete(self) -> None:
        """Measure all pairs of both stages, screen and confirmation.

        Raises Stopped when the user stops the comparison.
        """
        for number in range(1, self._plan.screen_pairs + 1):
            alive = [c for c in self._plan.contests if not self.notes[c.key].failed]
            self._pair("screen", number, alive, self._null(alive))
            if number == 1:
                self._refuse_idle()

        flagged = [c for c in self._plan.contests if self._flagged(c)]
        with_null = {k for k, n in self.notes.items() if any(NULL in p for p in n.screen)}
        for number in range(1, self._plan.confirm_pairs + 1):
            alive = [c for c in flagged if not self.notes[c.key].failed]
            self._pair("confirm", number, alive, with_null)

    def _refuse_changed(self, codes: Mapping[str, str]) -> None:
        """Raise RunError if the mssbench of an arm changed between two pairs.

        codes: digest of its files, by arm.
        """
        for name, code in codes.items():
            if self._codes.setdefault(name, code) != code:
                raise RunError(
                    f"the files of mssbench in {name} were changed while it was measured"
                )

    def _refuse_idle(self) -> None:
        """Raise GateError for a user's limit that applies to no row, as it would always pass."""
        for rule in self._plan.rules:
            if not rule.optional and not any(n.answers(rule) for n in self.notes.values()):
                measured = [n.method for n in self.notes.values() if n.row(BASE) is not None]
                raise GateError(f"{rule.text!r} limits nothing: {why_idle(rule, measured)}")

    def _null(self, contests: Sequence[Contest]) -> set[str]:
        """Return the keys of the contests in which base is compared with itself as well.

        They are a tenth of the contests that still run, and at least 8, chosen at random.
        """
        ranked = sorted((c.key for c in contests if c.key in self._ranks), key=self._ranks.get)  # type: ignore[arg-type]
        return set(
            ranked[: max(statistics.FEWEST_NULL, round(statistics.NULL_SHARE * len(ranked)))]
        )

    def _flagged(self, contest: Contest) -> bool:
        """Whether the screen found a difference of base from new, or of base from itself."""
        note = self.notes[contest.key]
        evidence = (note.evidence(arm) for arm in (NEW, NULL))
        return not note.failed and any(e is not None and e.flagged for e in evidence)

    def _pair(
        self, stage: str, number: int, contests: Sequence[Contest], null: Collection[str]
    ) -> None:
        """Measure one pair of processes, with a third one, the null arm, for some contests.

        number: of the pair within its stage, from 1. null: the keys of the null arm's contests.
        """
        if not contests:
            return

        plan, screening = self._plan, stage == "screen"
        arms = [Arm(BASE, plan.base), Arm(NEW, plan.new)]
        if any(c.key in null for c in contests):
            arms.append(Arm(NULL, plan.base))
        if (number % 2 == 0) is screening:
            arms.reverse()  # alternate which side is started first

        arm_contests = [_with_null(c) if c.key in null else c for c in contests]
        pairs = plan.screen_pairs if screening else plan.confirm_pairs
        seed = f"{plan.seed} {stage} {number}"

        def waiting(holder: str) -> None:
            self._watch(Progress(f"{WAITING}{holder}", number, pairs, 0, len(arm_contests)))

        with Duel(arms, plan.device, plan.rounds, seed, self._stopped, waiting) as duel:
            self.facts |= duel.facts
            self._refuse_changed(duel.codes)
            for done, (key, samples) in enumerate(duel.sweep(arm_contests), 1):
                note = self.notes[key]
                (note.screen if screening else note.confirm).append(samples)
                self._watch(Progress(stage, number, pairs, done, len(arm_contests)))


def _with_null(contest: Contest) -> Contest:
    """Return the contest with its cell of base also in the null arm, which runs base again."""
    return contest._replace(cells={**contest.cells, NULL: contest.cells[BASE]})


def contests(base: Sequence[Cell], new: Sequence[Cell]) -> tuple[Contest, ...]:
    """Return the contests of two sides: their cells, matched by cell_id."""
    by_id: dict[str, dict[str, Cell]] = {}
    for name, cells in ((BASE, base), (NEW, new)):
        for cell in cells:
            by_id.setdefault(cell.cell_id, {})[name] = cell
    return tuple(Contest(key, cells) for key, cells in by_id.items())


__all__ = ["BASE", "NEW", "Plan", "Progress", "contests", "run"]
