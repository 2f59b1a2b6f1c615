"""Compare the outputs of one cell (methods, problem, size, ...) with the reference.

Three kinds of outputs are compared: the first output of each phase, the output that was timed last,
and the outputs on new content. A row has the errors of the first output, since they are the same in
every run. The error of another output counts where it is worse by more than rounding can explain.
"""

from collections.abc import Mapping
from typing import Any

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.measure.comparisons import count_nonfinite
from mssbench.measure.inputs import Input, Restore, Rotation
from mssbench.measure.outputs import require_like
from mssbench.measure.truth import Truth
from mssbench.methods.other_functions import OtherFunction
from mssbench.methods.pair import Applied, Pair
from mssbench.records.cell import Cell
from mssbench.records.roundoff import stable_error

# Factor by which the error may grow when the same matrices are in another order, since they are
# rounded differently.
_ROUNDING = 8.0
_SAME_WEIGHT = 1e-3  # amount by which rounding may change the weight of small eigenvalues


class Checker:
    """Computes the error columns of the outputs of one cell.

    rotation: the inputs of the cell.
    truth: the reference answers for these inputs.
    max_error: the error above which a row is `inaccurate`.
    """

    def __init__(
        self,
        cell: Cell,
        pair: Pair | Applied | OtherFunction,
        rotation: Rotation,
        truth: Truth,
        max_error: float,
    ) -> None:
        self.truth, self.max_error = truth, max_error
        self._cell, self._pair, self._rotation = cell, pair, rotation
        # The compared matrices of the latest root, and its columns.
        self._latest: tuple[Array, dict[str, Any]] | None = None

    def errors(
        self,
        phase: str,
        output: Any,
        x: Input,
        *,
        copies: tuple[Any, ...] | None = None,
        brief: bool = False,
    ) -> dict[str, Any]:
        """Return the error columns of one output.

        phase: `forward`, `backward` or `step`.
        output: the root; outside of the phase `forward`, root and gradient.
        x: the input of the call.
        copies: what `picked` has copied from the output, to be compared instead of its present
            content. It needs `brief`.
        brief: return only the columns that decide a status.
        Raises Violation for an output that is not a plain array like the input.
        """
        function = self._cell.function
        pick_root, pick_gradient = x.restore_root(function), x.restore_gradient(function)
        if copies is not None:
            assert brief, "the columns of copies are not kept for later roots"
            pick_root, pick_gradient = _as_copied(copies[0]), _as_copied(copies[-1])

        if phase == "forward":
            self._require_like_input("root", output)
            return self._root_errors(output, pick_root, brief=brief)

        y, s = output
        self._require_like_input("root", y)
        self._require_like_input("gradient", s)
        root = self._root_errors(y, pick_root, brief=brief)
        return root | self.truth.gradient_errors(s, pick_gradient, brief=brief)

    def _root_errors(self, y: Array, pick: Restore, *, brief: bool) -> dict[str, Any]:
        """Return the error columns of a root.

        A step usually returns the same root as the forward alone. The columns of such a root are
        not computed twice, except for the count of its matrices that are not finite, since not all
        of them are compared.
        """
        if brief:
            return self.truth.root_errors(y, pick, brief=True)

        # Detached, so that it does not keep a recorded graph, and its memory, until the cell ends.
        picked = arrays.detach(pick(y, self.truth.indices))

        if self._latest is None or not bool((self._latest[0] == picked).all()):
            self._latest = picked, self.truth.root_errors(y, _as_copied(picked))
            return dict(self._latest[1])
        return self._latest[1] | {"nonfinite": count_nonfinite(y)}

    def picked(self, phase: str, output: Any, x: Input) -> tuple[Any, ...]:
        """Return copies of those matrices of the root, and of the gradient, that are compared."""
        function, indices = self._cell.function, self.truth.indices
        if phase == "forward":
            return (x.restore_root(function)(output, indices),)
        y, s = output
        root = x.restore_root(function)(y, indices)
        return root, x.restore_gradient(function)(s, indices)

    def errors_of_copies(
        self, phase: str, output: Any, x: Input, copies: tuple[Any, ...] | None
    ) -> dict[str, Any]:
        """Return the columns that decide a status, from the copies of an output if there are any.

        A method may still write into its output after the call has returned. The copies, made by
        `picked` right after the call, show what it was then. None: the output could not be copied.
        """
        return self.errors(phase, output, x, copies=copies, brief=True)

    def worst_of(
        self, phase: str, first: Mapping[str, Any], output: Any, x: Input
    ) -> dict[str, Any]:
        """Return the worse of two outputs' errors, column by column: the first and a later output.

        If no column that decides the status is worse for the later output, its other columns are
        not computed, which saves time, and those of the first output are returned.

        first: all error columns of the first output.
        output, x: the later output and the input of its call.
        """
        later = self.errors(phase, output, x, brief=True)
        if all(self.worse(name, first[name], later[name]) is first[name] for name in later):
            return dict(first)
        later = self.errors(phase, output, x)
        return {name: self.worse(name, value, later[name]) for name, value in first.items()}

    def worse(self, name: str, first: Any, later: Any) -> Any:
        """Return the error of the first output unless that of a later output is clearly worse.

        name: the column of both errors. The matrices of a later call are in another order, so that
            the error is rounded differently: only an increase beyond rounding is worse. NaN is
            worse than any number.
        """
        if first is None or first != first:
            return first
        if name == "tail_weight":  # the right value is 1, and may be missed on either side
            near = abs(later - 1) <= _ROUNDING * abs(first - 1) + _SAME_WEIGHT
            return first if near else later

        most = _ROUNDING * first
        if name in ("root_error", "residual", "gradient_error"):
            cell, condition = self._cell, self.truth.condition
            of_stable_method = stable_error(name, cell.function, cell.precision, condition)
            most = max(most, min(of_stable_method, self.max_error / 2))
        return first if later <= most else later  # a comparison with NaN is false

    def _require_like_input(self, name: str, output: Array) -> None:
        """Raise Violation for an output that is not a plain array of the right shape."""
        a = self._rotation.first.a
        shape = tuple(a.shape)
        if name == "root" and isinstance(self._pair, Applied):
            shape = (*shape[:-1], 1)
        if name == "root" and isinstance(self._pair, OtherFunction):
            shape = (*shape[:-1], shape[-2])
        require_like(name, output, shape, a)


def _as_copied(copies: Array) -> Restore:
    """Return a `Restore` that ignores its arguments and always returns `copies`.

    It takes the place of the function that would pick matrices from an output, when they were
    picked and copied before.
    """
    return lambda _, __=None: copies
