"""Make a cell ready to be called: check it, and build its methods, inputs and reference.

A cell is one combination of methods, problem, size and so on.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from mssbench import arrays, problems
from mssbench.machine.possible import refuse
from mssbench.measure.admission import pair_of
from mssbench.measure.inputs import Rotation
from mssbench.measure.instruments.sampling import Spent
from mssbench.measure.libraries import library, product_rule
from mssbench.measure.other_truths import other_truth_of
from mssbench.measure.session import Session
from mssbench.measure.truth import Truth
from mssbench.measure.verification import fingerprint, truth_of
from mssbench.methods import regularization
from mssbench.methods.other_functions import OtherFunction
from mssbench.methods.pair import Applied, Pair
from mssbench.methods.registry import methods_of
from mssbench.methods.regularization import Regularization
from mssbench.problems.features import features
from mssbench.problems.rng import Floats
from mssbench.records.cell import LOGARITHM, OF_FEATURES, WHITENING, Cell

BatchKey: TypeAlias = tuple[Any, ...]


class Prepared(NamedTuple):
    """A cell with everything that is needed to measure it."""

    cell: Cell
    pair: Pair | Applied | OtherFunction
    rotation: Rotation
    truth: Truth | None  # None where verification was not requested


class Batch:
    """The matrices of one problem in one precision, which several cells share.

    Raises RegistryError for an invalid problem, Unsupported if the problem lacks the size or the
    precision cannot store its numbers, and NotInstalled if an optional package is missing.
    """

    def __init__(self, cell: Cell) -> None:
        self.key = key_of(cell)
        problem = problems.make(cell.problem, cell.size, cell.batch, cell.seed)
        self._a = problems.cast(problem.master, cell.precision)  # (b, n, n), stored in float64
        self._g = problems.cast(problem.cotangent, cell.precision)
        self._precision = cell.precision
        self._mark = fingerprint(problem.master, problem.cotangent)
        # Library and device of the inputs, and whether they are features, moved by signs, scaled.
        self._place: tuple[str, str, bool, bool, bool] | None = None
        self._rotation: Rotation | None = None
        self._features: Floats | None = None  # (b, n, M), made when first used
        self._names = (cell.problem, cell.size, cell.batch, cell.seed)
        self._truths: dict[tuple[str, Regularization, bool], Truth] = {}

    def rotation(self, cell: Cell, *, own: bool = False) -> Rotation:
        """Return the inputs for the library and device of a cell, at the start of their rotation.

        own: as for `truth`.
        """
        of_features = cell.function == OF_FEATURES
        by_signs = own and cell.function == WHITENING  # for a triangular factor
        scales = cell.function != LOGARITHM
        place = (cell.library, cell.device, of_features, by_signs, scales)

        if self._place != place or self._rotation is None:
            self.forget_inputs()  # frees their memory before new inputs take some
            like = arrays.empty(cell.library, cell.device, cell.precision)
            # Copies, so that a method that writes into its input does not change the originals.
            a = arrays.from_numpy(self.features if of_features else self._a, like=like)
            g = arrays.from_numpy(self._g, like=like)
            self._rotation = Rotation(a, g, cell.seed, by_signs=by_signs, scales=scales)
            self._place = place
        self._rotation.begin()
        return self._rotation

    @property
    def features(self) -> Floats:
        """Features whose covariances are the matrices, (b, n, M), cast and stored in float64."""
        if self._features is None:
            self._features = problems.cast(features(*self._names), self._precision)
        return self._features

    def forget_inputs(self) -> None:
        """Drop the inputs, but keep the matrices that they are made from, and the references."""
        self._rotation = None

    def truth(self, function: str, regular: Regularization, *, own: bool = False) -> Truth:
        """Return the reference answer of a function and its gradient, see `truth_of`.

        own: whether the method computes a function other than a root directly, not from a root.
        """
        key = function, regular, own
        if key not in self._truths:
            a = self.features if function == OF_FEATURES else self._a
            arguments = (a, self._g, self._precision, self._mark, regular)
            is_other = function in (WHITENING, LOGARITHM)

            self._truths[key] = (
                other_truth_of(function, *arguments, own=own)
                if is_other
                else truth_of(function, *arguments)
            )
            assert self._truths[key].tails is not None  # computed here, to count as reference time

        return self._truths[key]


def key_of(cell: Cell) -> BatchKey:
    """Return the values that all cells of one batch have in common."""
    return (cell.problem, cell.size, cell.batch, cell.seed, cell.precision)


@contextmanager
def prepared(
    cell: Cell, session: Session, spent: Spent | None = None, *, verify: bool = True
) -> Iterator[Prepared]:
    """Check that a cell can be measured, build what it needs, and set up its library in the block.

    spent: collects the seconds for problem and reference.
    verify: whether the reference is needed.
    Raises Unsupported, NotInstalled, Unavailable or RegistryError if a cell cannot be measured.
    """
    spent = spent if spent is not None else Spent()
    forward, backward = methods_of(cell.forward, cell.backward)
    refuse(cell, forward, backward)
    pair = pair_of(cell)

    start = time.perf_counter()
    if session.batch is None or session.batch.key != key_of(cell):
        session.batch = None  # frees its memory before the next batch takes some
        session.batch = Batch(cell)
    batch = session.batch
    middle = time.perf_counter()

    regular, _ = regularization.split(cell.parameters)
    is_own = isinstance(pair, OtherFunction) and pair.is_own
    truth = batch.truth(cell.function, regular, own=is_own) if verify else None
    spent.problem, spent.reference = middle - start, time.perf_counter() - middle

    with library(cell.library), product_rule(cell.precision):
        start = time.perf_counter()
        rotation = batch.rotation(cell, own=is_own)
        spent.problem += time.perf_counter() - start
        try:
            yield Prepared(cell, pair, rotation, truth)
        except BaseException:
            session.forget_inputs()
            raise
