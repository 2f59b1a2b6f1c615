"""`ab`: whether new is slower than base, from pairs of processes that are sampled in turn.

Three pairs screen every row, and the rows that stand out are measured again in nine fresh pairs.
The sides take turns in starting first. For some rows a third process runs base again, the null arm:
a difference that the rule finds between base and itself may appear in any row. The rule is in
`statistics`, and the judgement on a row in `verdicts`.

Each arm runs the mssbench of its own interpreter or revision, harness and methods alike. A machine
that slows down slows both arms of a pair. This raises no doubt, because the null arm shows what is
left of it.
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
from mssbench.suite.thresholds import COMPARED, TIMES, Rule

WAITING = "waiting for the device, held by "  # a stage, with who that is


@dataclass(frozen=True)
class Plan:
    """What is compared, how the sides are started, and how often."""

    contests: tuple[Contest, ...]  # the cells of base and new
    base: Setup
    new: Setup
    device: str
    seed: str = "0"
    rules: tuple[Rule, ...] = ()  # limits that people set
    screen_pairs: int = statistics.SCREEN_PAIRS
    confirm_pairs: int = statistics.CONFIRM_PAIRS
    rounds: int = statistics.ROUNDS


@dataclass(frozen=True)
class Progress:
    """Where it is: `screen`, `confirm` or whom it waits for, the pair, and the contests done."""

    stage: str
    pair: int
    pairs: int
    done: int
    of: int


def run(
    plan: Plan,
    watch: Callable[[Progress], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Judged:
    """Compare; when told to stop, what there is by then.

    Raises GateError for a rule that limits nothing, and RunError where an arm does not start.
    """
    _refuse_odd(plan)
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


def _refuse_odd(plan: Plan) -> None:
    """Raise GateError for a limit of a time that is not compared here, or of less than is told."""
    for rule in plan.rules:
        if rule.optional or rule.column not in TIMES:
            continue
        if rule.column != COMPARED:
            raise GateError(f"{rule.text!r}: of times `ab` compares `seconds` alone.")
        if log(rule.factor) < statistics.SCREEN:
            least = 100 * (exp(statistics.SCREEN) - 1)
            raise GateError(f"{rule.text!r}: `ab` tells no less than {least:.0f} %.")


class _Comparison:
    """Pair after pair, with what was taken so far."""

    def __init__(
        self, plan: Plan, watch: Callable[[Progress], None], stopped: Callable[[], bool]
    ) -> None:
        self._plan, self._watch, self._stopped = plan, watch, stopped
        self.notes = {c.key: Notes(c, plan.rules) for c in plan.contests}
        self.facts: dict[str, Mapping[str, Any]] = {}  # of each arm's process
        self._codes: dict[str, str] = {}  # digest of the files that each arm runs
        # in which order contests are held against base itself: another in each run
        keys = [c.key for c in plan.contests if BASE in c.cells]
        random.Random(plan.seed).shuffle(keys)  # noqa: S311  (no secret)
        self._ranks = {key: i for i, key in enumerate(keys)}

    def complete(self) -> None:
        """Both stages. Raises Stopped."""
        for number in range(1, self._plan.screen_pairs + 1):
            alive = [c for c in self._plan.contests if not self.notes[c.key].failed]
            self._pair("screen", number, alive, self._null(alive))
            if number == 1:
                self._refuse_idle()
        flagged = [c for c in self._plan.contests if self._flagged(c)]
        had = {k for k, n in self.notes.items() if any(NULL in p for p in n.screen)}
        for number in range(1, self._plan.confirm_pairs + 1):
            alive = [c for c in flagged if not self.notes[c.key].failed]
            self._pair("confirm", number, alive, had)

    def _refuse_changed(self, codes: Mapping[str, str]) -> None:
        """Raise RunError where the files of an arm are no longer what they were in other pairs."""
        for name, code in codes.items():
            if self._codes.setdefault(name, code) != code:
                raise RunError(
                    f"the files of mssbench in {name} were changed while it was measured"
                )

    def _refuse_idle(self) -> None:
        """Raise GateError for a rule that no row answers to: it would pass for ever."""
        for rule in self._plan.rules:
            if not rule.optional and not any(n.answers(rule) for n in self.notes.values()):
                raise GateError(
                    f"{rule.text!r} limits nothing: no row that was measured has both a method "
                    f"that matches {rule.methods!r} and a number in {rule.column}."
                )

    def _null(self, contests: Sequence[Contest]) -> set[str]:
        """A tenth of them, eight at least; for one that turned out not to run, the next."""
        ranked = sorted((c.key for c in contests if c.key in self._ranks), key=self._ranks.get)  # type: ignore[arg-type]
        return set(
            ranked[: max(statistics.FEWEST_NULL, round(statistics.NULL_SHARE * len(ranked)))]
        )

    def _flagged(self, contest: Contest) -> bool:
        """Whether the screen sends it on, perhaps for base against itself."""
        note = self.notes[contest.key]
        found = (note.evidence(arm) for arm in (NEW, NULL))
        return not note.failed and any(e is not None and e.flagged for e in found)

    def _pair(
        self, stage: str, number: int, contests: Sequence[Contest], null: Collection[str]
    ) -> None:
        """One pair of processes, with a third of base's for some of the contests."""
        if not contests:
            return
        plan, screening = self._plan, stage == "screen"
        arms = [Arm(BASE, plan.base), Arm(NEW, plan.new)]
        if any(c.key in null for c in contests):
            arms.append(Arm(NULL, plan.base))
        if (number % 2 == 0) is screening:
            arms.reverse()  # who starts first has no place of its own
        given = [_with_null(c) if c.key in null else c for c in contests]
        pairs = plan.screen_pairs if screening else plan.confirm_pairs
        seed = f"{plan.seed} {stage} {number}"

        def waiting(holder: str) -> None:
            self._watch(Progress(f"{WAITING}{holder}", number, pairs, 0, len(given)))

        with Duel(arms, plan.device, plan.rounds, seed, self._stopped, waiting) as duel:
            self.facts |= duel.facts
            self._refuse_changed(duel.codes)
            for done, (key, taken) in enumerate(duel.sweep(given), 1):
                note = self.notes[key]
                (note.screen if screening else note.confirm).append(taken)
                self._watch(Progress(stage, number, pairs, done, len(given)))


def _with_null(contest: Contest) -> Contest:
    return contest._replace(cells={**contest.cells, NULL: contest.cells[BASE]})


def contests(base: Sequence[Cell], new: Sequence[Cell]) -> tuple[Contest, ...]:
    """The cells of both sides, those with one cell_id together."""
    found: dict[str, dict[str, Cell]] = {}
    for name, cells in ((BASE, base), (NEW, new)):
        for cell in cells:
            found.setdefault(cell.cell_id, {})[name] = cell
    return tuple(Contest(key, cells) for key, cells in found.items())


__all__ = ["BASE", "NEW", "Plan", "Progress", "contests", "run"]
