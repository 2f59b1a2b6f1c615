"""Count the work of one untimed call: its memory, and its operations."""

from collections.abc import Sequence
from typing import Any

import torch

from mssbench.measure import phases
from mssbench.measure.inputs import Input
from mssbench.measure.instruments import counts, memory
from mssbench.measure.instruments.counts import Counts
from mssbench.measure.phases import explicit
from mssbench.methods.other_functions import OtherFunction
from mssbench.methods.pair import Applied, Pair

WorkColumns = dict[str, Any]


def work(
    pair: Pair | Applied | OtherFunction, library: str, device: str, x: Input
) -> dict[str, WorkColumns]:
    """Return the columns of memory and of counted operations, by phase.

    x: the input of the call, which serves for all phases. Its results stay alive until counting has
        ended, as a caller would keep them.
    """
    # The cotangent has the shape of the matrices even if the input is features.
    counting = counts.OperatorCounter(x.g) if library == "torch" else counts.LaunchCounter(x.g)
    forward_only = pair.backward is None
    methods = [m for m in (pair.forward, pair.backward) if m]

    with memory.peak(library, device) as peak, counting as watch:
        if forward_only:
            with torch.no_grad():  # inference mode would hide the parts of a composed operator
                result: Any = phases.plain(pair, x)
        elif library == "torch":
            prepare, call = phases.calls(pair, library, "backward")
            with memory.saved_for_backward() as saved:
                recorded = prepare(x)
            of_forward = watch.counts(pair.forward)
            peak.mark()
            result = call(recorded)
        else:
            assert isinstance(pair, Pair)
            root = pair.keep(x.a)
            of_forward = watch.counts(pair.forward)
            peak.mark()
            result = explicit(pair, root, x.g)

    del result
    of_call = watch.counts(*methods)

    if forward_only:
        return {"forward": {"peak_bytes": peak.whole, **of_call._asdict()}}

    if library == "torch":
        a, y = recorded[0]
        saved_bytes = saved.bytes(y, a)
    else:
        saved_bytes = memory.root_bytes(root)

    return {
        "backward": {
            "peak_bytes": peak.second,
            "saved_bytes": saved_bytes,
            **_difference(of_call, of_forward)._asdict(),
        },
        "step": {"peak_bytes": peak.whole, "saved_bytes": saved_bytes, **of_call._asdict()},
    }


def counted(pair: Pair | Applied | OtherFunction, x: Input) -> Counts:
    """Count the work of one call in torch: of a forward, or of a step if there is a backward.

    The call is made as in `work`, so that the same work has the same counts: recording what
    autograd saves uses operators too.
    """
    with counts.OperatorCounter(x.g) as watch:
        if pair.backward is None:
            with torch.no_grad():
                phases.plain(pair, x)
        else:
            prepare, call = phases.calls(pair, "torch", "backward")
            with memory.saved_for_backward():
                recorded = prepare(x)
            call(recorded)

    return watch.counts()


def less_work(new: Sequence[Counts], seen: Sequence[Counts]) -> str:
    """Return why a method seems to remember answers, from its counts; empty if it does not.

    It seems to do so if every call on content seen before takes fewer products, operations or
    operators than every call on new content.

    new, seen: the counts of calls on either content, of equal length.
    """
    for unit, name in (("products", "products"), ("operations", "flops"), ("operators",) * 2):
        on_new = [getattr(counts, name) for counts in new]
        on_seen = [getattr(counts, name) for counts in seen]

        if None not in (*on_new, *on_seen) and max(on_seen) < min(on_new):
            return (
                f"{min(on_new):.3g} {unit} for matrices that the method had not seen, "
                f"{max(on_seen):.3g} for those seen before: it remembers answers"
            )

    return ""


def _difference(after: Counts, before: Counts) -> Counts:
    """Return the work of a call less a part of it; None where either is unknown."""
    pairs = zip(after, before, strict=True)
    return Counts._make(None if x is None or y is None else x - y for x, y in pairs)
