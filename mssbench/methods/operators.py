"""The roots as operators of torch, for compilers and for tensors without values.

torch.compile and torch.export record the operators that a function calls. They cannot follow a pair
that is looked up by its name, nor a method that looks at the values of its matrix. To them
`mssbench::root` is therefore a single operator, which computes what the call outside of a compiler
computes. Where they make a backward pass, its parts are operators as well:

    keep:      A -> Y and what the backward reads                      (`Pair.keep`)
    gradient:  what the backward reads, G -> S                         (`Pair.gradient`)
    solution:  what the backward reads, R -> S with Y S + S Y = R      (`Pair.solution`)
    again:     A, G -> S by a second forward, for a backward that goes through its steps

Derivatives are made of them as in every other call, in `differentiable`. For tensors that have no
values, fake ones and those of the device `meta`, each operator states the shapes of its results.
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


class Call(NamedTuple):
    """What a caller has named, in the types that an operator can take."""

    function: Function
    forward: str
    backward: str | None
    check: bool  # whether the values of the matrices are looked at
    parameters: Sequence[str]  # name and type, and the value where it is no number: see `encoded`
    whole: Sequence[int]  # the values of those that are whole numbers, in their order
    real: Sequence[float]  # the values of the other numbers


Resolve = Callable[[Tensor, Call], Pair]
_resolve: list[Resolve] = []  # the one of `sqrtm`, which imports this module


def resolved_by(resolve: Resolve) -> None:
    """Set the function that looks up the pair of a call: (a, call) -> pair, or an InputError.

    `sqrtm` sets it, because it imports this module.
    """
    _resolve[:] = [resolve]


def are_needed(a: Tensor) -> bool:
    """Whether a root of `a` is to be taken by its operator: in a compiler, or without values.

    Inside a transform of torch.func it is not, since operators have none of its rules. There
    torch.compile leaves its graph, and torch.export follows the operations of the methods.
    """
    if torch.compiler.is_dynamo_compiling():
        return not differentiable.is_transformed()
    return a.is_meta or isinstance(a, FakeTensor)  # torch.export hands fake tensors on


def root(
    a: Tensor,
    function: Function,
    forward: str,
    backward: str | None,
    check: bool,
    parameters: Mapping[str, Any],
) -> Tensor:
    """The root of a: (..., n, n), by its operator. The arguments are those of `sqrtm`."""
    operator = torch.ops.mssbench.root
    y: Tensor = operator(a, function, forward, backward, check, *encoded(parameters))
    return y


def encoded(parameters: Mapping[str, Any]) -> tuple[list[str], list[int], list[float]]:
    """Parameters in the types that an operator can take, the last three fields of a Call.

    {"iterations": 5, "lower": 0.1, "norm": "trace"} gives ["iterations=int", "lower=float",
    "norm=str:trace"], [5], [0.1]. A number that changes between the calls of a compiled function
    is a symbol there, which can be handed on but not be written as a word.
    """
    words, whole, real = [], [], []
    for name in sorted(parameters):
        value = parameters[name]
        kind = type(value).__name__
        if isinstance(value, float):  # a number of numpy as well
            kind = "float"
        if kind == "int":
            whole.append(value)
        elif kind == "float":
            real.append(float(value))
        else:
            kind = f"{kind}:{value}"
        words.append(f"{name}={kind}")
    return words, whole, real


def decoded(call: Call) -> dict[str, Any]:
    """The parameters of a call.

    A value that is no number, word, truth value or None comes back as its text, which the check of
    the parameters refuses.
    """
    whole, real = iter(call.whole), iter(call.real)
    found: dict[str, Any] = {}
    for word in call.parameters:
        name, _, rest = word.partition("=")
        kind, _, value = rest.partition(":")
        if kind in ("int", "float"):
            found[name] = next(whole if kind == "int" else real)
        else:
            found[name] = {"True": True, "None": None}.get(value, False) if kind in _FEW else value
    return found


_FEW = ("bool", "NoneType")  # types of few values


@dataclass(frozen=True)
class Recorded(Pair):
    """A pair whose parts are operators. To `differentiable` it is a pair like any other."""

    call: Call | None = None  # it has a default because fields of Pair have

    def keep(self, a: Array) -> Root:
        """As of a pair."""
        return differentiable.rebuilt(_fields(self), _operator("keep", self)(a))

    def gradient(self, root: Root, g: Array) -> Array:
        """As of a pair."""
        return _operator("gradient", self)(self._kept(root), g)

    def solution(self, root: Root, r: Array) -> Array:
        """As of a pair."""
        return _operator("solution", self)(self._kept(root), r)

    def _kept(self, root: Root) -> list[Tensor]:
        return differentiable.parts(root, self.saved)


def _operator(name: str, chosen: Recorded) -> Callable[..., Any]:
    assert chosen.call is not None
    operator, call = getattr(torch.ops.mssbench, name), chosen.call
    return lambda *tensors: operator(*tensors, *call)


def _fields(chosen: Pair) -> list[str]:
    """The fields of what `Pair.keep` gives, the root first."""
    return list(dict.fromkeys((chosen.function, *chosen.saved)))


# ------------------------------------------------------------------------- what operators compute


def _root(a: Tensor, *call: Any) -> Tensor:
    chosen = _resolve[0](a, Call(*call))
    if a.numel() == 0:
        return _like(a)
    with torch.no_grad(), _as_input_error():
        return _owned([chosen(a)], [a.shape], a)[0]


def _keep(a: Tensor, *call: Any) -> list[Tensor]:
    chosen = _resolve[0](a, Call(*call))
    if a.numel() == 0:
        return _like_kept(a, *call)
    with _as_input_error(), without_autocast(a):
        found = differentiable.parts(chosen.keep(a), _fields(chosen))
    return _owned(found, [x.shape for x in _like_kept(a, *call)], a)


def _gradient(kept: Sequence[Tensor], g: Tensor, *call: Any) -> Tensor:
    return _solved("gradient", kept, g, call)


def _solution(kept: Sequence[Tensor], r: Tensor, *call: Any) -> Tensor:
    return _solved("solution", kept, r, call)


def _solved(part: str, kept: Sequence[Tensor], g: Tensor, call: tuple[Any, ...]) -> Tensor:
    chosen = _resolve[0](g, Call(*call)._replace(check=False))  # a cotangent is any matrix
    if g.numel() == 0:
        return _like(g)
    root = differentiable.rebuilt(chosen.saved, kept)
    with _as_input_error():
        return _owned([getattr(chosen, part)(root, g)], [g.shape], g, *kept)[0]


def _again(a: Tensor, g: Tensor, *call: Any) -> Tensor:
    chosen = _resolve[0](a, Call(*call)._replace(check=False))  # by the forward, it has been
    if a.numel() == 0:
        return _like(a)
    with torch.enable_grad(), _as_input_error():
        leaf = a.detach().requires_grad_()
        return _owned(torch.autograd.grad(chosen(leaf), leaf, g), [a.shape], a, g)[0]


def _owned(found: Sequence[Tensor], shapes: Sequence[torch.Size], *given: Tensor) -> list[Tensor]:
    """The results of an operator, each contiguous, of its stated shape, in memory of its own.

    A compiler takes them to be so, whereas LAPACK returns transposed matrices, and a method without
    steps may return its matrix.
    """
    taken = {x.untyped_storage().data_ptr() for x in given}
    owned = []
    for x, shape in zip(found, shapes, strict=True):
        whole = x.detach().expand(shape).contiguous()
        owned.append(whole.clone() if whole.untyped_storage().data_ptr() in taken else whole)
        taken.add(owned[-1].untyped_storage().data_ptr())
    return owned


@contextmanager
def _as_input_error() -> Iterator[None]:
    try:
        yield
    except Unsupported as answer:  # what only the matrix or the parameters together can tell
        raise InputError(f"{answer}.") from None


# -------------------------------------------------------------------- what they state of the shapes


def _like(a: Tensor, *_: Any) -> Tensor:
    return torch.empty(a.shape, dtype=a.dtype, device=a.device)  # contiguous, however `a` lies


def _like_second(_: Any, g: Tensor, *__: Any) -> Tensor:
    return _like(g)


def _like_root(a: Tensor, *call: Any) -> Tensor:
    _resolve[0](a, Call(*call)._replace(check=False))  # what cannot be asked for is told here
    return _like(a)


# The tensors of a field that has several: v is (..., n), m is (..., n, n).
_PARTS = {"eigen": "vm", "differential": "mmvv"}


def _like_kept(a: Tensor, *call: Any) -> list[Tensor]:
    chosen = _resolve[0](a, Call(*call)._replace(check=False))
    parts = [part for name in _fields(chosen) for part in _PARTS.get(name, "m")]
    return [_like(a) if part == "m" else a.new_empty(a.shape[:-1]) for part in parts]


# ------------------------------------------------------------------------------------- derivatives


def _differentiable_root(a: Tensor, *given: Any) -> Tensor:
    """The root where a gradient may be asked for."""
    call = Call(*given)
    if not Pair.is_differentiated(a):
        with torch._C._AutoDispatchBelowAutograd():
            y: Tensor = torch.ops.mssbench.root(a, *call)
        return y
    if differentiable.transforms_active():
        raise InputError(
            "an exported root has no rules of torch.func: take torch.autograd, or apply the "
            "transform to the module before it is exported."
        )
    chosen = _resolve[0](a, call._replace(check=False))
    assert chosen.backward is not None
    if chosen.backward.replays:
        return _Replayed.apply(a, _spelt_out(chosen, call))  # type: ignore[no-untyped-call,no-any-return]
    if chosen.regular.ridge:
        a, chosen = regularization.ridged(a, chosen.regular.ridge), chosen.without_ridge
    values = {field.name: getattr(chosen, field.name) for field in fields(chosen)}
    return differentiable.root(a, Recorded(**values, call=_spelt_out(chosen, call)))


def _spelt_out(chosen: Pair, call: Call) -> Call:
    """The call that names this pair, which "auto" may have chosen, and all of its parameters."""
    assert chosen.backward is not None
    theirs = {f"backward_{name}": value for name, value in chosen.backward_parameters}
    given = dict(chosen.forward_parameters) | theirs | regularization.given(chosen.regular)
    names = (call.function, chosen.forward.name, chosen.backward.name)
    return Call(*names, call.check, *encoded(given))


class _Replayed(torch.autograd.Function):
    """A root whose backward goes through the steps of the forward, which are taken once more.

    An operator cannot hand its steps on: their number, or what autograd keeps of them, is known to
    the method alone.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, call: Call) -> Tensor:
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
            f"{ctx.call.forward} + {ctx.call.backward} has no derivative in forward mode in a "
            'compiled function. Take backward="loewner", or do without the compiler.'
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
# A compiled function that runs would have these compiled as well, piece by piece.
_uncompiled: Callable[..., Any] = _disable_dynamo
_library = torch.library.Library("mssbench", "FRAGMENT")  # type: ignore[no-untyped-call]
for _name, (_schema, _compute, _fake) in _OPERATORS.items():
    # Nothing of it reads what a compiler does not see, which torch calls compliant with its stack.
    _library.define(_name + _schema, tags=(torch.Tag.pt2_compliant_tag,))  # type: ignore[no-untyped-call]
    _library.impl(_name, _uncompiled(_compute), "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(f"mssbench::{_name}", _fake, lib=_library)
_library.impl("root", _uncompiled(_differentiable_root), "Autograd")  # type: ignore[no-untyped-call]
