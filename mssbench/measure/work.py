"""The work of one call, observed while it runs untimed: memory, and counts of operations."""

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

Columns = dict[str, Any]


def work(
    pair: Pair | Applied | OtherFunction, library: str, device: str, x: Input
) -> dict[str, Columns]:
    """The columns of memory and of counted operations, by phase.

    x: the input of the call. The same call serves for all phases. Its results stay alive until the
    watch has ended, as a caller would keep them.
    """
    # the cotangent has the shape of the matrices even if the input is features
    counting = counts.Watch(x.g) if library == "torch" else counts.Blind(x.g)
    forward_only = pair.backward is None
    methods = [m for m in (pair.forward, pair.backward) if m]
    with memory.peak(library, device) as peak, counting as watch:
        if forward_only:
            with torch.no_grad():  # inference mode would hide the parts of a composed operation
                kept: Any = phases.plain(pair, x)
        elif library == "torch":
            prepare, call = phases.calls(pair, library, "backward")
            with memory.saved_for_backward() as saved:
                recorded = prepare(x)
            before = watch.counts(pair.forward)
            peak.mark()
            kept = call(recorded)
        else:
            assert isinstance(pair, Pair)
            root = pair.keep(x.a)
            before = watch.counts(pair.forward)
            peak.mark()
            kept = explicit(pair, root, x.g)
    del kept
    after = watch.counts(*methods)
    if forward_only:
        return {"forward": {"peak_bytes": peak.whole, **after._asdict()}}
    if library == "torch":
        a, y = recorded[0]
        bytes_ = saved.bytes(y, a)
    else:
        bytes_ = memory.root_bytes(root)
    return {
        "backward": {
            "peak_bytes": peak.second,
            "saved_bytes": bytes_,
            **_difference(after, before)._asdict(),
        },
        "step": {"peak_bytes": peak.whole, "saved_bytes": bytes_, **after._asdict()},
    }


def counted(pair: Pair | Applied | OtherFunction, x: Input) -> Counts:
    """Count the work of one call in torch: of a forward, or of a step if there is a backward.

    The call is made as in `work`, so that the same work has the same counts: recording what
    autograd saves uses operators too.
    """
    with counts.Watch(x.g) as watch:
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
    """Why a method seems to remember answers, from counts; empty if it does not.

    It does if every call on content seen before takes fewer products, operations or operators than
    every call on new content. new, seen: the counts of calls on either, equally many.
    """
    for what, name in (("products", "products"), ("operations", "flops"), ("operators",) * 2):
        first = [getattr(counts, name) for counts in new]
        second = [getattr(counts, name) for counts in seen]
        if None not in (*first, *second) and max(second) < min(first):
            return (
                f"{min(first):.3g} {what} for matrices that it had not seen, {max(second):.3g} for "
                "those seen before: it remembers answers"
            )
    return ""


def _difference(after: Counts, before: Counts) -> Counts:
    pairs = zip(after, before, strict=True)
    return Counts._make(None if x is None or y is None else x - y for x, y in pairs)
