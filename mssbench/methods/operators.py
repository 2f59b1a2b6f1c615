"""The roots as custom operators of torch, for torch.compile, torch.export and meta tensors.

Both compilers record the operators that a function calls. They cannot trace the lookup of a pair by
its name, nor a method that reads values of its matrix. Therefore `mssbench::root` is a single
operator, whose results are those of a call without a compiler. The parts of a backward pass are
operators as well:

    keep:      A -> Y and the fields that the backward reads           (`Pair.keep`)
    gradient:  these fields, G -> S                                    (`Pair.gradient`)
    solution:  these fields, R -> S with Y S + S Y = R                 (`Pair.solution`)
    again:     A, G -> S by a second forward, for backwards through the steps of the forward

The module `differentiable` composes derivatives of these operators as it does without a compiler.
For tensors without values, which are fake tensors and those on the device `meta`, each operator
has a function that returns empty results of the right shapes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch._compile import _disable_dynamo
from torch._subclasses import FakeTensor
from torch.autograd.function import once_differentiable

from mssbench.arrays import Array
from mssbench.errors import InputError, Unsupported
from mssbench.methods import differentiable, regularization
from mssbench.methods.method import Function, Root
from mssbench.methods.pair import Pair, without_autocast

Tensor = torch.Tensor


class CallArguments(NamedTuple):
    """The arguments of a call of `sqrtm` or `isqrtm`, in types that an operator can take."""

    function: Function
    forward: str
    backward: str | None
    check: bool  # whether the values of the matrices are checked
    parameters: Sequence[str]  # names and types, with the value unless it is a number: `encoded`
    whole: Sequence[int]  # the values of integer parameters, in order
    real: Sequence[float]  # the values of float parameters, in order


Resolve = Callable[[Tensor, CallArguments], Pair]
# Holds the function that `resolved_by` sets. `sqrtm` provides it, and cannot be imported here
# because it imports this module.
_resolve: list[Resolve] = []


def resolved_by(resolve: Resolve) -> None:
    """Set the function (a, call) -> pair that looks up the pair of a call or raises InputError."""
    _resolve[:] = [resolve]


def are_needed(a: Tensor) -> bool:
    """Whether the root of `a` is computed by its operator: in a compiler, or without values.

    Inside a transform of torch.func it is not, since the operators have no rules for it. There
    torch.compile breaks its graph, and torch.export traces the operations of the methods.
    """
    if torch.compiler.is_dynamo_compiling():
        return not differentiable.is_transformed()
    return a.is_meta or isinstance(a, FakeTensor)  # torch.export passes fake tensors


def root(
    a: Tensor,
    function: Function,
    forward: str,
    backward: str | None,
    check: bool,
    parameters: Mapping[str, Any],
) -> Tensor:
    """Return the root of a: (..., n, n), by its operator. The arguments are those of `sqrtm`."""
    operator = torch.ops.mssbench.root
    y: Tensor = operator(a, function, forward, backward, check, *encoded(parameters))
    return y


def encoded(parameters: Mapping[str, Any]) -> tuple[list[str], list[int], list[float]]:
    """Return parameters in types that an operator can take: the last three fields of a Call.

    {"iterations": 5, "lower": 0.1, "norm": "trace"} gives ["iterations=int", "lower=float",
    "norm=str:trace"], [5], [0.1]. Numbers are kept apart from the text because a number that
    changes between calls of a compiled function is symbolic there, and cannot become text.
    """
    words, whole, real = [], [], []
    for name in sorted(parameters):
        value = parameters[name]
        kind = type(value).__name__
        if isinstance(value, float):  # includes numpy.float64
            kind = "float"

        if kind == "int":
            whole.append(value)
        elif kind == "float":
            real.append(float(value))
        else:
            kind = f"{kind}:{value}"
        words.append(f"{name}={kind}")

    return words, whole, real


def decoded(call: CallArguments) -> dict[str, Any]:
    """Return the parameters of a call, the inverse of `encoded`.

    A value that is not a number, str, bool or None is returned as text, which the check of the
    parameters refuses.
    """
    whole, real = iter(call.whole), iter(call.real)
    values: dict[str, Any] = {}

    for word in call.parameters:
        name, _, rest = word.partition("=")
        kind, _, value = rest.partition(":")
        if kind in ("int", "float"):
            values[name] = next(whole if kind == "int" else real)
        else:
            values[name] = {"True": True, "None": None}.get(value, False) if kind in _FEW else value
    return values


_FEW = ("bool", "NoneType")  # types whose values are True, False and None


@dataclass(frozen=True)
class Recorded(Pair):
    """A pair whose `keep`, `gradient` and `solution` call operators, which compilers record.

    `differentiable` treats it like any other pair.
    """

    # Always given; the default is needed because the fields of Pair have one.
    call: CallArguments | None = None

    def keep(self, a: Array) -> Root:
        """Return the result of `Pair.keep` by an operator."""
        return differentiable.rebuilt(_fields(self), _operator("keep", self)(a))

    def gradient(self, root: Root, g: Array) -> Array:
        """Return the result of `Pair.gradient` by an operator."""
        return _operator("gradient", self)(self._kept(root), g)

    def solution(self, root: Root, r: Array) -> Array:
        """Return the result of `Pair.solution` by an operator."""
        return _operator("solution", self)(self._kept(root), r)

    def _kept(self, root: Root) -> list[Tensor]:
        return differentiable.parts(root, self.saved)


def _operator(name: str, chosen: Recorded) -> Callable[..., Any]:
    assert chosen.call is not None
    operator, call = getattr(torch.ops.mssbench, name), chosen.call
    return lambda *tensors: operator(*tensors, *call)


def _fields(chosen: Pair) -> list[str]:
    """Return the names of the fields that `Pair.keep` returns, the root first."""
    return list(dict.fromkeys((chosen.function, *chosen.saved)))


# -------------------------------------------------------------------- the results of the operators


def _root(a: Tensor, *call: Any) -> Tensor:
    chosen = _resolve[0](a, CallArguments(*call))
    if a.numel() == 0:
        return _like(a)
    with torch.no_grad(), _as_input_error():
        return _owned([chosen(a)], [a.shape], a)[0]


def _keep(a: Tensor, *call: Any) -> list[Tensor]:
    chosen = _resolve[0](a, CallArguments(*call))
    if a.numel() == 0:
        return _like_kept(a, *call)
    with _as_input_error(), without_autocast(a):
        tensors = differentiable.parts(chosen.keep(a), _fields(chosen))
    return _owned(tensors, [x.shape for x in _like_kept(a, *call)], a)


def _gradient(kept: Sequence[Tensor], g: Tensor, *call: Any) -> Tensor:
    return _solved("gradient", kept, g, call)


def _solution(kept: Sequence[Tensor], r: Tensor, *call: Any) -> Tensor:
    return _solved("solution", kept, r, call)


def _solved(part: str, kept: Sequence[Tensor], g: Tensor, call: tuple[Any, ...]) -> Tensor:
    # No check of values, because a cotangent may be any matrix.
    chosen = _resolve[0](g, CallArguments(*call)._replace(check=False))
    if g.numel() == 0:
        return _like(g)
    root = differentiable.rebuilt(chosen.saved, kept)
    with _as_input_error():
        return _owned([getattr(chosen, part)(root, g)], [g.shape], g, *kept)[0]


def _again(a: Tensor, g: Tensor, *call: Any) -> Tensor:
    # No check of values, because the forward has made it.
    chosen = _resolve[0](a, CallArguments(*call)._replace(check=False))
    if a.numel() == 0:
        return _like(a)
    with torch.enable_grad(), _as_input_error():
        leaf = a.detach().requires_grad_()
        return _owned(torch.autograd.grad(chosen(leaf), leaf, g), [a.shape], a, g)[0]


def _owned(results: Sequence[Tensor], shapes: Sequence[torch.Size], *given: Tensor) -> list[Tensor]:
    """Return results that are contiguous, have these shapes, and share no memory.

    A compiler assumes all three. Without this, LAPACK returns transposed matrices, and a method
    that takes no steps may return its input. given: the inputs of the operator.
    """
    taken = {x.untyped_storage().data_ptr() for x in given}
    owned = []
    for x, shape in zip(results, shapes, strict=True):
        whole = x.detach().expand(shape).contiguous()
        owned.append(whole.clone() if whole.untyped_storage().data_ptr() in taken else whole)
        taken.add(owned[-1].untyped_storage().data_ptr())
    return owned


@contextmanager
def _as_input_error() -> Iterator[None]:
    try:
        yield
    except Unsupported as answer:  # depends on the matrix or on several parameters together
        raise InputError(f"{answer}.") from None


# --------------------------------------------------------------------- the shapes of their results


def _like(a: Tensor, *_: Any) -> Tensor:
    return torch.empty(a.shape, dtype=a.dtype, device=a.device)  # contiguous even if `a` is not


def _like_second(_: Any, g: Tensor, *__: Any) -> Tensor:
    return _like(g)


def _like_root(a: Tensor, *call: Any) -> Tensor:
    # Reports an invalid call while tracing.
    _resolve[0](a, CallArguments(*call)._replace(check=False))
    return _like(a)


# The shapes of fields with several tensors: "v" is (..., n), "m" is (..., n, n).
_PARTS = {"eigen": "vm", "differential": "mmvv"}


def _like_kept(a: Tensor, *call: Any) -> list[Tensor]:
    chosen = _resolve[0](a, CallArguments(*call)._replace(check=False))
    parts = [part for name in _fields(chosen) for part in _PARTS.get(name, "m")]
    return [_like(a) if part == "m" else a.new_empty(a.shape[:-1]) for part in parts]


# ------------------------------------------------------------------------------------- derivatives


def _differentiable_root(a: Tensor, *given: Any) -> Tensor:
    """Return the root of `a`, differentiable if a gradient may be requested."""
    call = CallArguments(*given)
    if not Pair.is_differentiated(a):
        with torch._C._AutoDispatchBelowAutograd():
            y: Tensor = torch.ops.mssbench.root(a, *call)
        return y

    if differentiable.transforms_active():
        raise InputError(
            "an exported root has no rules of torch.func: use torch.autograd, or apply the "
            "transform to the module before exporting it."
        )

    chosen = _resolve[0](a, call._replace(check=False))
    assert chosen.backward is not None
    if chosen.backward.replays:
        return _ReplayedRoot.apply(a, _spelt_out(chosen, call))  # type: ignore[no-untyped-call,no-any-return]
    if chosen.regular.ridge:
        a, chosen = regularization.ridged(a, chosen.regular.ridge), chosen.without_ridge
    values = {field.name: getattr(chosen, field.name) for field in fields(chosen)}
    return differentiable.root(a, Recorded(**values, call=_spelt_out(chosen, call)))


def _spelt_out(chosen: Pair, call: CallArguments) -> CallArguments:
    """Return the call with the names and all parameters of a pair that "auto" may have chosen."""
    assert chosen.backward is not None
    theirs = {f"backward_{name}": value for name, value in chosen.backward_parameters}
    given = dict(chosen.forward_parameters) | theirs | regularization.given(chosen.regular)
    names = (call.function, chosen.forward.name, chosen.backward.name)
    return CallArguments(*names, call.check, *encoded(given))


class _ReplayedRoot(torch.autograd.Function):
    """A root whose backward goes through the steps of the forward, and computes them again.

    An operator cannot return its steps, because only the method knows their number and the tensors
    that autograd saves for them.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, call: CallArguments) -> Tensor:
        ctx.save_for_backward(a)
        ctx.call = call
        y: Tensor = torch.ops.mssbench.root(a, *call)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (a,) = ctx.saved_tensors
        s: Tensor = torch.ops.mssbench.again(a, g, *ctx.call)
        return s, None

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise InputError(
            f"{ctx.call.forward} + {ctx.call.backward} has no forward-mode derivative (jvp) in "
            'a function compiled by torch.compile. Take backward="loewner", or call it without '
            "torch.compile."
        )


_CALL = (
    "str function, str forward, str? backward, bool check, "
    "str[] parameters, int[] whole, float[] real"
)
_OPERATORS: dict[str, tuple[str, Callable[..., Any], Callable[..., Any]]] = {
    "root": (f"(Tensor a, {_CALL}) -> Tensor", _root, _like_root),
    "keep": (f"(Tensor a, {_CALL}) -> Tensor[]", _keep, _like_kept),
    "gradient": (f"(Tensor[] kept, Tensor g, {_CALL}) -> Tensor", _gradient, _like_second),
    "solution": (f"(Tensor[] kept, Tensor r, {_CALL}) -> Tensor", _solution, _like_second),
    "again": (f"(Tensor a, Tensor g, {_CALL}) -> Tensor", _again, _like),
}
# Without this, torch.compile would also compile the bodies of the operators.
_uncompiled: Callable[..., Any] = _disable_dynamo
_library = torch.library.Library("mssbench", "FRAGMENT")  # type: ignore[no-untyped-call]
for _name, (_schema, _compute, _fake) in _OPERATORS.items():
    # The tag says that an operator reads nothing but its arguments, so that compilers may trace it.
    _library.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
    _library.impl(_name, _uncompiled(_compute), "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"mssbench::{_name}", _fake, lib=_library)
_library.impl("root", _uncompiled(_differentiable_root), "Autograd")  # type: ignore[no-untyped-call]
