"""Define what each phase of a cell calls, and what is built before each call.

A cell is one combination of methods, problem, size and so on. Its phases are `forward` (the root),
`backward` (the gradient), and `step`, which is both together.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch

from mssbench.arrays import Array
from mssbench.measure.inputs import Input
from mssbench.methods import method
from mssbench.methods.other_functions import OtherFunction
from mssbench.methods.pair import Applied, Pair
from mssbench.problems.vectors import vectors


class Calls(NamedTuple):
    """The call that is timed in one phase, and the preparation of its input."""

    prepare: Callable[[Input], Any]  # builds what one call consumes
    call: Callable[[Any], Any]  # -> root, or (root, gradient)


class First(NamedTuple):
    """Result of the first call of a phase, whose output was verified."""

    seconds: float
    errors: Mapping[str, Any]  # error columns of its output


class Phase(NamedTuple):
    """A phase of a cell, ready to be timed on any clock."""

    name: str
    calls: Calls
    first: First
    work: Mapping[str, Any]  # columns of memory and counts


def calls(pair: Pair | Applied | OtherFunction, library: str, phase: str) -> Calls:
    """Return the timed call of a phase (`forward`, `backward` or `step`) and its preparation.

    A backward of torch is run by autograd; those of the other libraries are called directly.
    """
    if isinstance(pair, Applied):
        return _applied(pair, phase)
    if phase == "forward":
        field = lambda x: pair.field(x.a)  # noqa: E731
        return Calls(_same, torch.inference_mode()(field) if library == "torch" else field)

    if library == "torch" and phase == "step":
        return Calls(lambda x: (leaf(x.a), x.g), lambda p: replay(record(pair, p[0]), p[1]))
    if library == "torch":
        return Calls(lambda x: (record(pair, leaf(x.a)), x.g), lambda p: replay(*p))

    assert not isinstance(pair, OtherFunction), "other functions are measured in torch"
    if phase == "step":
        return Calls(_same, lambda x: explicit(pair, pair.keep(x.a), x.g))
    return Calls(lambda x: (pair.keep(x.a), x.g), lambda p: explicit(pair, *p))


def _applied(pair: Applied, phase: str) -> Calls:
    """Return the timed call and its preparation for a phase of A^{-1/2} b, in torch."""
    if phase == "forward":
        return Calls(lambda x: (x.a, vectors(x.g)[0]), torch.inference_mode()(lambda p: pair(*p)))

    def recorded(a: Array, b: Array) -> tuple[Array, Array]:
        return a, pair(a, b)

    def prepare(x: Input) -> tuple[Array, Array, Array]:
        return (leaf(x.a), *vectors(x.g))

    if phase == "step":
        return Calls(prepare, lambda p: replay(recorded(*p[:2]), p[2]))

    def record_first(x: Input) -> tuple[tuple[Array, Array], Array]:
        a, b, h = prepare(x)
        return recorded(a, b), h

    return Calls(record_first, lambda p: replay(*p))


def plain(pair: Pair | Applied | OtherFunction, x: Input) -> Array:
    """Return the result of the forward, computed outside of torch's inference mode."""
    return pair(x.a, vectors(x.g)[0]) if isinstance(pair, Applied) else pair.field(x.a)


def _same(x: Input) -> Input:
    """Return the input unchanged: the preparation of a call that consumes just the input."""
    return x


def leaf(a: Array) -> Array:
    """Return the matrices as the leaf of a new autograd graph."""
    return a.detach().requires_grad_()


def record(pair: Pair | OtherFunction, leaf: Array) -> tuple[Array, Array]:
    """Record a new autograd graph, and return its leaf and the root."""
    return leaf, pair(leaf)


def replay(graph: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    """Run the backward of a recorded graph, which is used up. Return root and gradient."""
    leaf, y = graph
    (s,) = torch.autograd.grad(y, leaf, g)
    return y, s


def explicit(pair: Pair, root: method.Root, g: Array) -> tuple[Array, Array]:
    """Return root and gradient without an autograd graph: the backward is called directly."""
    return getattr(root, pair.function), pair.gradient(root, g)
