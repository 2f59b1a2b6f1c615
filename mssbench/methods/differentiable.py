"""A root with its gradient as one operation of torch, which can be differentiated again.

Let Y S + S Y = R define S as a function of A = Y² and R. That map is symmetric in R, so that with a
cotangent H of S and T the solution for H in place of R,

    dL/dR = T    and    dL/dA = -S',  where S' is the solution for  T S + S T.

The second follows from Y dS + dS Y = dR - dY S - S dY and from the law of the root itself. Each
derivative is a solution of the same equation. One operation, `_Solution`, therefore has derivatives
of every order, and the gradient of a root is written with it:

    sqrt:   dL/dA is the solution for G.          dY, of a direction dA, is the solution for dA.
    isqrt:  dL/dA is the solution for -Z G Z.     dZ = -Z dY Z.

Source: Higham, Functions of Matrices, SIAM 2008, §3.1 and §6.1; the second derivative by the same
solver is this project's.

For a singular A this holds for the first derivative only: the projector onto the null directions
depends on A, too.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from mssbench import arrays
from mssbench.arrays import symmetrize, transpose
from mssbench.errors import InputError, Unsupported
from mssbench.methods.method import TAKES_HALF, Root

if TYPE_CHECKING:
    from mssbench.methods.pair import Pair

Tensor = torch.Tensor
# Whether one of torch.func's transforms is at work. It has no public name; without it none is.
transforms_active: Callable[[], bool] = getattr(
    torch._C, "_are_functorch_transforms_active", lambda: False
)


def is_transformed() -> bool:
    """Whether torch.func or forward mode is active, where no tensor need require a gradient."""
    return transforms_active() or torch.autograd.forward_ad._current_level >= 0


def root(a: Tensor, chosen: "Pair") -> Tensor:
    """The root of a: (..., n, n), with the gradient that the pair gives it."""
    operation = _TransformedRoot if transforms_active() else _Root
    found: tuple[Tensor, ...] = operation.apply(a, chosen)  # type: ignore[no-untyped-call]
    return found[0]


def _computed(a: Tensor, chosen: "Pair") -> tuple[Tensor, ...]:
    """The root, a link to `a`, then what the derivatives of the root need beside it.

    The link has the shape of `a`, and its numbers are never read. To autograd it is `a` itself:
    second derivatives reach `a` through it, and yet the memory of `a` is free when its owner is
    done with it. In forward mode torch requires an output with memory of its own.
    """
    kept = chosen.keep(a)
    y: Tensor = getattr(kept, chosen.function)
    rest = parts(kept, _others(chosen))
    link = a.clone() if is_transformed() else y.new_empty(1).expand(a.shape)
    return y, link, *rest


def _others(chosen: "Pair") -> list[str]:
    return [name for name in chosen.saved if name != chosen.function]


def parts(root: Root, names: Sequence[str]) -> list[Tensor]:
    """The tensors of these fields of a root, one after another."""
    found: list[Tensor] = []
    for name in names:
        field = getattr(root, name)
        found += field if isinstance(field, tuple) else (field,)
    return found


def rebuilt(names: Sequence[str], found: Sequence[Tensor]) -> Root:
    """The root with these fields, of what `parts` gave; only `iterates` may have any number."""
    left = list(found)
    values: dict[str, Any] = {}
    for name in names:
        count = {"eigen": 2, "differential": 4, "iterates": len(left)}.get(name)
        some, left = tuple(left[: count or 1]), left[count or 1 :]
        values[name] = some[0] if count is None else some
    return Root(**values)


def _remember(ctx: Any, chosen: "Pair", found: tuple[Tensor, ...]) -> None:
    """Keep the link and the fields that are saved: the root only where it is read.

    A root that is not kept may be changed in place: no gradient is made of it.
    """
    y, link, *rest = found
    kept = (link, y, *rest) if chosen.function in chosen.saved else (link, *rest)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*kept)
    if is_transformed():
        ctx.save_for_forward(*kept)
    ctx.chosen = chosen


def _gradient(ctx: Any, g: Tensor | None, of_link: Tensor | None) -> Tensor | None:
    """dL/dA from the cotangents of the root and of the link, each None where it is zero."""
    if g is None:
        return of_link
    link, *kept = ctx.saved_tensors
    try:
        s = _gradient_of(link, ctx.chosen, kept, g)
    except Unsupported as answer:  # what only the size or the parameters together can tell
        raise InputError(f"{answer}.") from None
    return s if of_link is None else s + of_link


def _gradient_of(link: Tensor, chosen: "Pair", kept: Sequence[Tensor], g: Tensor) -> Tensor:
    if not torch.is_grad_enabled():  # nobody will differentiate what is returned
        s: Tensor = chosen.gradient(rebuilt(chosen.saved, kept), g)
        return s
    kept = [x.detach() for x in kept]  # they depend on `a`, which the formulas below account for
    if not _solves(chosen):
        s = chosen.gradient(rebuilt(chosen.saved, kept), g.detach())
        return _Once.apply(s, link, g, chosen)  # type: ignore[no-untyped-call,no-any-return]
    r = symmetrize(g)
    if chosen.function == "isqrt":
        z = _Inverse.apply(link, chosen, *kept)  # type: ignore[no-untyped-call]
        r = -(z @ r @ z)
    return _solution(link, r, chosen, kept)


def _check_precision(link: Tensor, chosen: "Pair") -> None:
    """Whether the backward takes the precision of the root.

    `sqrtm` asks that of a tensor that records a gradient. A transform of torch.func or forward mode
    may want the root alone, so that only here it is known that a derivative is wanted.
    """
    assert chosen.backward is not None
    name, precision = chosen.backward.name, arrays.dtype_name(link)
    if precision not in chosen.backward.precisions:
        raise InputError(
            f"backward {name!r} has no derivative in {precision}. Convert first, for example "
            f'a.double(). Or take backward="{TAKES_HALF["backward"]}", which computes in '
            f"{precision}."
        )


def _tangent_of(link: Tensor, chosen: "Pair", kept: Sequence[Tensor], direction: Tensor) -> Tensor:
    """The change of the root in a direction of `a`."""
    if not _solves(chosen):
        raise InputError(_has_no(chosen, "derivative in forward mode"))
    _check_precision(link, chosen)
    kept = [x.detach() for x in kept]
    dy = _solution(link, symmetrize(direction), chosen, kept)
    if chosen.function == "sqrt":
        return dy
    z: Tensor = _Inverse.apply(link, chosen, *kept)  # type: ignore[no-untyped-call]
    return -(z @ dy @ z)


class _Root(torch.autograd.Function):
    """Inputs: a and the pair. Outputs: the root and the link."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, chosen: "Pair") -> tuple[Tensor, ...]:
        found = _computed(a, chosen)
        _remember(ctx, chosen, found)
        return found[:2]

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, of_link: Tensor | None, *_: Any) -> Any:
        return _gradient(ctx, g, of_link), None

    @staticmethod
    def jvp(ctx: Any, direction: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        link, *kept = ctx.saved_tensors
        return _tangent_of(link, ctx.chosen, kept, direction), direction


class _TransformedRoot(torch.autograd.Function):
    """The same in the form that torch.func asks for, which costs a call some 15 us more.

    Its outputs are all that `_computed` returns, as nothing else may be kept there.
    """

    @staticmethod
    def forward(a: Tensor, chosen: "Pair") -> tuple[Tensor, ...]:
        return _computed(a, chosen)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        _remember(ctx, inputs[1], output)
        ctx.mark_non_differentiable(*output[2:])
        ctx.count = len(output)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, of_link: Tensor | None, *_: Any) -> Any:
        if g is not None:
            _check_precision(ctx.saved_tensors[0], ctx.chosen)
        return _gradient(ctx, g, of_link), None

    @staticmethod
    def jvp(ctx: Any, direction: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        return *_Root.jvp(ctx, direction, _), *[None] * (ctx.count - 2)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        found = _TransformedRoot.apply(*_batched(info, in_dims, inputs))  # type: ignore[no-untyped-call]
        return found, (0,) * len(found)


class _Inverse(torch.autograd.Function):
    """Z = A^{-1/2} again, as a function of `a`. Inputs: a link to it, the pair, what it keeps."""

    @staticmethod
    def forward(link: Tensor, chosen: "Pair", *kept: Tensor) -> Tensor:
        del link
        root = rebuilt(chosen.saved, kept)
        if root.isqrt is not None:
            return root.isqrt.clone()  # type: ignore[no-any-return]
        assert root.eigen is not None, "a pair that solves for isqrt keeps one of the two"
        w, v = root.eigen
        z: Tensor = (v / w.sqrt()[..., None, :]) @ transpose(v)
        return z

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        del output
        link, chosen, *kept = inputs
        ctx.save_for_backward(link, *kept)
        ctx.save_for_forward(link, *kept)
        ctx.chosen, ctx.count = chosen, len(inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        link, *kept = ctx.saved_tensors
        return _gradient_of(link, ctx.chosen, kept, g), *[None] * (ctx.count - 1)

    @staticmethod
    def jvp(ctx: Any, direction: Tensor, *_: Any) -> Tensor:
        link, *kept = ctx.saved_tensors
        return _tangent_of(link, ctx.chosen, kept, direction)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        return _Inverse.apply(*_batched(info, in_dims, inputs)), 0  # type: ignore[no-untyped-call]


def _solution(link: Tensor, r: Tensor, chosen: "Pair", kept: Sequence[Tensor]) -> Tensor:
    """S as a function of `a`, by its link, and of r."""
    found: Tensor = _Solution.apply(link, r, chosen, *kept)  # type: ignore[no-untyped-call]
    return found


class _Solution(torch.autograd.Function):
    """S with Y S + S Y = R. Inputs: a link to a = Y², r, the pair, and what it keeps."""

    @staticmethod
    def forward(link: Tensor, r: Tensor, chosen: "Pair", *kept: Tensor) -> Tensor:
        del link
        s: Tensor = chosen.solution(rebuilt(chosen.saved, kept), r)
        return s

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        link, _, chosen, *kept = inputs
        ctx.save_for_backward(link, output, *kept)
        ctx.save_for_forward(link, output, *kept)
        ctx.chosen, ctx.count = chosen, len(inputs)

    @staticmethod
    def backward(ctx: Any, h: Tensor) -> tuple[Tensor | None, ...]:
        link, s, *kept = ctx.saved_tensors
        t = _solution(link, symmetrize(h), ctx.chosen, kept)
        of_a = None
        if ctx.needs_input_grad[0]:
            of_a = -_solution(link, t @ s + s @ t, ctx.chosen, kept)
        return of_a, t, *[None] * (ctx.count - 2)

    @staticmethod
    def jvp(ctx: Any, of_a: Tensor | None, of_r: Tensor | None, *_: Any) -> Tensor:
        link, s, *kept = ctx.saved_tensors
        r = torch.zeros_like(s) if of_r is None else symmetrize(of_r)
        if of_a is not None:
            dy = _solution(link, symmetrize(of_a), ctx.chosen, kept)
            r = r - dy @ s - s @ dy
        return _solution(link, r, ctx.chosen, kept)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        return _Solution.apply(*_batched(info, in_dims, inputs)), 0  # type: ignore[no-untyped-call]


def _batched(info: Any, in_dims: tuple[Any, ...], inputs: Sequence[Any]) -> list[Any]:
    """The inputs of a mapped operation with the mapped dimension first, also where one had none."""

    def batched(x: Any, dim: int | None) -> Any:
        if not isinstance(x, Tensor):
            return x
        return x.movedim(dim, 0) if dim is not None else x.expand(info.batch_size, *x.shape)

    return [batched(x, dim) for x, dim in zip(inputs, in_dims, strict=True)]


class _Once(torch.autograd.Function):
    """A gradient as it is, which refuses to be differentiated. Inputs: S, then what it is of."""

    @staticmethod
    def forward(s: Tensor, link: Tensor, g: Tensor, chosen: "Pair") -> Tensor:
        del link, g, chosen
        return s.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        del output
        ctx.chosen = inputs[-1]

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Any:
        raise InputError(_has_no(ctx.chosen, "second derivative"))

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise InputError(_has_no(ctx.chosen, "second derivative"))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        return _Once.apply(*_batched(info, in_dims, inputs)), 0  # type: ignore[no-untyped-call]


def _solves(chosen: "Pair") -> bool:
    # With rtol a second derivative would need what the gradient leaves out between null directions.
    return chosen.backward is not None and chosen.backward.solves and chosen.regular.rtol is None


def _has_no(chosen: "Pair", what: str) -> str:
    name = chosen.backward.name if chosen.backward else "none"
    if chosen.regular.rtol is not None:
        return f"a root with rtol has no {what}: only its gradient is defined."
    return (
        f"{chosen.forward.name} + {name} has no {what}: {name} does not solve the equation of the "
        'gradient for any right-hand side. Take backward="loewner", or backward="autodiff" for '
        "the derivative of the forward's own operations."
    )
