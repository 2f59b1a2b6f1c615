"""Count the kernels that each phase of a cell launches, by capturing a call as a CUDA graph.

A cell is one combination of methods, problem, size and so on. Its phases are the root (forward),
the gradient (backward), and both together (step).
"""

from collections.abc import Mapping

from mssbench.measure.inputs import Rotation
from mssbench.measure.instruments.counts import launches
from mssbench.measure.phases import Calls


def kernels(whole: str, every: Mapping[str, Calls], rotation: Rotation) -> dict[str, int | None]:
    """Return the number of kernels of a call, by phase.

    whole: the phase that contains the others: `step`, or `forward` without a backward.
    every: the calls by phase.
    rotation: the inputs.
    Raises CaptureFailed where a call cannot be captured.

    A backward alone uses up the steps that were recorded for it and cannot be warmed up for a
    capture. Its kernels are therefore those of a whole step minus those of its forward.
    """
    x, step = rotation.fresh(), every[whole]
    counts = {whole: launches(step.call, step.prepare(x))}
    if "backward" in every:
        # Both counts include the launches of `prepare`, which therefore cancel.
        prepared_and_called = launches(lambda x: step.call(step.prepare(x)), x)
        counts["backward"] = _beyond(prepared_and_called, launches(every["backward"].prepare, x))
    return counts


def _beyond(whole: int | None, part: int | None) -> int | None:
    """Return the difference of two counts if both are known."""
    return None if whole is None or part is None else whole - part
