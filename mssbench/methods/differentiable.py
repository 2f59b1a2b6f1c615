"""The root as an operation of torch that can be differentiated any number of times.

Let Y S + S Y = R define S as a function of A = Y² and R. The map from R to S is self-adjoint. With
a cotangent H of S, and T the solution for H in place of R,

    dL/dR = T    and    dL/dA = -S',  where S' is the solution for  T S + S T.

The second follows from Y dS + dS Y = dR - dY S - S dY and from the Lyapunov equation of the root.
Each derivative is a solution of the same equation. One operation, `_Solution`, therefore has
derivatives of every order, and the gradient of a root is expressed by it:

    sqrt:   dL/dA is the solution for G.          dY, of a direction dA, is the solution for dA.
    isqrt:  dL/dA is the solution for -Z G Z.     dZ = -Z dY Z.

Source: Higham, Functions of Matrices, SIAM 2008, §3.1 and §6.1; the second derivative by the same
solver is this project's.

For a singular A this holds for the first derivative only, because the projector onto the null
directions also depends on A.
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
# Whether a transform of torch.func is active. torch has no public function for this; if a version
# lacks the private one, the answer is no.
transforms_active: Callable[[], bool] = getattr(
    torch._C, "_are_functorch_transforms_active", lambda: False
)


def is_transformed() -> bool:
    """Whether torch.func or forward mode is active: tensors then need not require a gradient."""
    return transforms_active() or torch.autograd.forward_ad._current_level >= 0


def root(a: Tensor, chosen: "Pair") -> Tensor:
    """Return the root of a: (..., n, n), with the gradient of the pair `chosen`."""
    operation = _TransformedRoot if transforms_active() else _DifferentiableRoot
    outputs: tuple[Tensor, ...] = operation.apply(a, chosen)  # type: ignore[no-untyped-call]
    return outputs[0]


def _computed(a: Tensor, chosen: "Pair") -> tuple[Tensor, ...]:
    """Return the root, a link to `a`, and the other tensors that the root's derivatives need.

    The link has the shape of `a`, and its values are never read. To autograd it stands for `a`:
    second derivatives reach `a` through it, without keeping the memory of `a` alive. In forward
    mode torch requires an output that shares no memory with the input, hence the clone.
    """
    kept = chosen.keep(a)
    y: Tensor = getattr(kept, chosen.function)
    rest = parts(kept, _others(chosen))
    link = a.clone() if is_transformed() else y.new_empty(1).expand(a.shape)
    return y, link, *rest


def _others(chosen: "Pair") -> list[str]:
    return [name for name in chosen.saved if name != chosen.function]


def parts(root: Root, names: Sequence[str]) -> list[Tensor]:
    """Return the tensors of the named fields of a root as one flat list."""
    tensors: list[Tensor] = []
    for name in names:
        field = getattr(root, name)
        tensors += field if isinstance(field, tuple) else (field,)
    return tensors


def rebuilt(names: Sequence[str], found: Sequence[Tensor]) -> Root:
    """Return the root with the named fields; `found` is the list that `parts` returned for them.

    Only the field `iterates` has a variable number of tensors.
    """
    left = list(found)
    values: dict[str, Any] = {}
    for name in names:
        count = {"eigen": 2, "differential": 4, "iterates": len(left)}.get(name)
        field, left = tuple(left[: count or 1]), left[count or 1 :]
        values[name] = field[0] if count is None else field
    return Root(**values)


def _remember(ctx: Any, chosen: "Pair", outputs: tuple[Tensor, ...]) -> None:
    """Save the link and the fields that the backward reads; the root only if it is among them.

    The caller may change a root that is not saved in place, since no gradient depends on it.
    """
    y, link, *rest = outputs
    kept = (link, y, *rest) if chosen.function in chosen.saved else (link, *rest)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*kept)
    if is_transformed():
        ctx.save_for_forward(*kept)
    ctx.chosen = chosen


def _gradient(ctx: Any, g: Tensor | None, of_link: Tensor | None) -> Tensor | None:
    """Return dL/dA from the cotangents of the root and of the link; None stands for zero."""
    if g is None:
        return of_link

    link, *kept = ctx.saved_tensors
    try:
        s = _gradient_of(link, ctx.chosen, kept, g)
    except Unsupported as answer:  # depends on the size or on several parameters together
        raise InputError(f"{answer}.") from None
    return s if of_link is None else s + of_link


def _gradient_of(link: Tensor, chosen: "Pair", kept: Sequence[Tensor], g: Tensor) -> Tensor:
    if not torch.is_grad_enabled():  # the gradient itself will not be differentiated
        s: Tensor = chosen.gradient(rebuilt(chosen.saved, kept), g)
        return s

    # Detached, because the formulas below account for the dependence on `a` through the link.
    kept = [x.detach() for x in kept]
    if not _solves(chosen):
        s = chosen.gradient(rebuilt(chosen.saved, kept), g.detach())
        return _Once.apply(s, link, g, chosen)  # type: ignore[no-untyped-call,no-any-return]

    r = symmetrize(g)
    if chosen.function == "isqrt":
        z = _DifferentiableInverse.apply(link, chosen, *kept)  # type: ignore[no-untyped-call]
        r = -(z @ r @ z)
    return _solution(link, r, chosen, kept)


def _check_precision(link: Tensor, chosen: "Pair") -> None:
    """Raise InputError unless the backward takes the precision of the root.

    `sqrtm` checks this for tensors that record a gradient. Under a transform of torch.func or in
    forward mode the root alone may be wanted, so that the check has to wait until a derivative is
    computed.
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
    """Return the derivative of the root in a direction of `a`, both (..., n, n)."""
    if not _solves(chosen):
        raise InputError(_has_no(chosen, "forward-mode derivative (jvp)"))
    _check_precision(link, chosen)

    kept = [x.detach() for x in kept]
    dy = _solution(link, symmetrize(direction), chosen, kept)
    if chosen.function == "sqrt":
        return dy
    z: Tensor = _DifferentiableInverse.apply(link, chosen, *kept)  # type: ignore[no-untyped-call]
    return -(z @ dy @ z)


class _DifferentiableRoot(torch.autograd.Function):
    """The root outside of transforms of torch.func.

    Inputs: a, and the `Pair` of a forward and a backward. Outputs: the root, and the link, a tensor
    that stands for `a` in autograd (see `_computed`).
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, chosen: "Pair") -> tuple[Tensor, ...]:
        outputs = _computed(a, chosen)
        _remember(ctx, chosen, outputs)
        return outputs[:2]

    @staticmethod
    def backward(ctx: Any, g: Tensor | None, of_link: Tensor | None, *_: Any) -> Any:
        return _gradient(ctx, g, of_link), None

    @staticmethod
    def jvp(ctx: Any, direction: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        link, *kept = ctx.saved_tensors
        return _tangent_of(link, ctx.chosen, kept, direction), direction


class _TransformedRoot(torch.autograd.Function):
    """The root in the form that torch.func requires, which costs some 15 us more per call.

    Its outputs are all tensors that `_computed` returns, because only inputs and outputs can be
    saved in this form.
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
        return *_DifferentiableRoot.jvp(ctx, direction, _), *[None] * (ctx.count - 2)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> Any:
        outputs = _TransformedRoot.apply(*_batched(info, in_dims, inputs))  # type: ignore[no-untyped-call]
        return outputs, (0,) * len(outputs)


class _DifferentiableInverse(torch.autograd.Function):
    """Z = A^{-1/2} as a differentiable function of `a`, for use inside the gradient.

    Inputs: the link, a tensor that stands for `a` in autograd (see `_computed`); the `Pair` of a
    forward and a backward; and the tensors that were saved from its forward.
    """

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
        return _DifferentiableInverse.apply(*_batched(info, in_dims, inputs)), 0  # type: ignore[no-untyped-call]


def _solution(link: Tensor, r: Tensor, chosen: "Pair", kept: Sequence[Tensor]) -> Tensor:
    """Return S with Y S + S Y = R as a differentiable function of `a`, through the link, and r."""
    s: Tensor = _Solution.apply(link, r, chosen, *kept)  # type: ignore[no-untyped-call]
    return s


class _Solution(torch.autograd.Function):
    """The solution S of Y S + S Y = R as a differentiable function of A = Y² and R.

    Inputs: the link, a tensor that stands for A in autograd (see `_computed`); r; the `Pair` of a
    forward and a backward; and the tensors that were saved from its forward.
    """

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
    """Move the mapped dimension of each input to the front; expand inputs that have none."""

    def batched(x: Any, dim: int | None) -> Any:
        if not isinstance(x, Tensor):
            return x
        return x.movedim(dim, 0) if dim is not None else x.expand(info.batch_size, *x.shape)

    return [batched(x, dim) for x, dim in zip(inputs, in_dims, strict=True)]


class _Once(torch.autograd.Function):
    """The gradient S of a pair without second derivatives: InputError if it is differentiated.

    Inputs: S; the link, a tensor that stands for `a` in autograd (see `_computed`); the cotangent
    g; and the `Pair` of a forward and a backward.
    """

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
    # With rtol, a second derivative would need the block between null directions, which the
    # gradient leaves out.
    return chosen.backward is not None and chosen.backward.solves and chosen.regular.rtol is None


def _has_no(chosen: "Pair", derivative: str) -> str:
    name = chosen.backward.name if chosen.backward else "none"
    if chosen.regular.rtol is not None:
        return f"a root with rtol has no {derivative}: only its gradient is defined."

    return (
        f"{chosen.forward.name} + {name} has no {derivative}: {name} does not solve the Lyapunov "
        'equation for arbitrary right-hand sides. Take backward="loewner", or backward="autodiff" '
        "to differentiate the operations of the forward."
    )
