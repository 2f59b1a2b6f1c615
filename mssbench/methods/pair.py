"""Pairs of a forward and a backward, as differentiable functions of a matrix.

`Pair` is the root of a batch. `Applied` is A^{-1/2} b with one vector b per matrix, which suites
call `isqrt_b`. Sampling and whitening need only this product, and some methods compute it without
forming the inverse root. Other forwards multiply their inverse root by b, so that the two kinds can
be compared.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NoReturn

import torch

from mssbench import arrays
from mssbench.arrays import Array, symmetrize
from mssbench.errors import RegistryError, Unsupported
from mssbench.methods import decomposition, differentiable, method, registry, regularization
from mssbench.methods.method import Function, Method, Root
from mssbench.methods.regularization import NONE, Regularization


@dataclass(frozen=True)
class Pair:
    """A forward and a backward with their parameters, callable on a batch of matrices."""

    function: Function
    forward: Method
    backward: Method | None  # None: no gradient is recorded
    forward_parameters: tuple[tuple[str, Any], ...]
    backward_parameters: tuple[tuple[str, Any], ...]
    saved: tuple[str, ...]  # fields of Root saved for the backward; `function` first if among them
    regular: Regularization = NONE  # how small eigenvalues are treated

    def __call__(self, a: Array) -> Array:
        """Return the root of a: (..., n, n), differentiable if `a` requires a gradient."""
        with without_autocast(a):
            if self.backward is None or not self.is_differentiated(a):
                return self.field(a)
            if self.backward.recorded:
                return self.backward.call(self.field, a)

            if self.regular.ridge:
                a = regularization.ridged(a, self.regular.ridge)
            return differentiable.root(a, self.without_ridge)

    @cached_property
    def without_ridge(self) -> "Pair":
        """The same pair without its ridge, for matrices to which it has been added already."""
        return replace(self, regular=self.regular._replace(ridge=0.0))

    @staticmethod
    def is_differentiated(a: Array) -> bool:
        """Whether autograd or torch.func may later ask for a derivative of the root of `a`."""
        if arrays.library(a) != "torch":
            return False
        recorded = a.requires_grad and torch.is_grad_enabled()
        return recorded or differentiable.is_transformed()

    @staticmethod
    def records(a: Array) -> bool:
        """Whether autograd would record how the root of `a` is computed."""
        return arrays.library(a) == "torch" and a.requires_grad and torch.is_grad_enabled()

    def computes_in(self, library: str, precision: str) -> str:
        """Return the wider precision in which the forward or the backward computes; "" if neither.

        Some libraries compute in float64 whatever precision is requested, see `Method.computes_in`.
        The backward is left out if it reads fields of `Root` and the forward yields them all, since
        it then computes no decomposition of its own.
        """
        forward, backward = self.forward, self.backward
        wider = forward.computes_in(library, precision)
        if wider or backward is None:
            return wider

        reads = bool(backward.fields) and set(backward.fields) <= set(forward.fields)
        return "" if reads else backward.computes_in(library, precision)

    def field(self, a: Array) -> Array:
        """Return the root of a: (..., n, n) by the forward alone, without the pair's gradient."""
        y = getattr(self.root(a, frozenset((self.function,))), self.function)
        return self._missing(self.function) if y is None else y

    def root(self, a: Array, wanted: method.Wanted) -> Root:
        """Return the wanted fields of Root that the forward yields for a: (..., n, n)."""
        ridge, rtol = self.regular
        with arrays.quiet(a):
            if ridge:
                a = regularization.ridged(a, ridge)
            if rtol is None:
                return self._called(a, wanted)

            eigen = self._called(a, frozenset(("eigen",))).eigen
            assert eigen is not None, "a pair with rtol has a forward that yields the eigenpairs"
            return regularization.root(*eigen, rtol, wanted)

    def _called(self, a: Array, wanted: method.Wanted) -> Root:
        root = self.forward.call(a, wanted, **dict(self.forward_parameters))
        if not isinstance(root, Root):
            result = "nothing" if root is None else f"a {_kind(root)}"
            raise TypeError(
                f"forward {self.forward.name!r} returned {result}: return Root({self.function}=...)"
            )
        return root

    def _missing(self, name: str) -> NoReturn:
        raise TypeError(
            f"forward {self.forward.name!r} returned a Root without {name}: return Root({name}=...)"
        )

    def keep(self, a: Array) -> Root:
        """Return the root of `a` and the fields that the backward reads, to be saved for it."""
        names = (self.function, *self.saved)
        root = self.root(a, frozenset(names))
        if root.eigen is not None and self.function == "sqrt" and not self.forward.cuts_null:
            w, v = root.eigen
            root = root._replace(eigen=(decomposition.without_null(w), v))

        if getattr(root, self.function) is None:
            self._missing(self.function)
        return Root(**{name: getattr(root, name) for name in names})

    def gradient(self, root: Root, g: Array) -> Array:
        """Return dL/dA, (..., n, n), from the result of `keep` and the cotangent g of the root."""
        assert self.backward is not None
        with arrays.quiet(g):
            g = g if self.backward.symmetrizes else symmetrize(g)
            s = self._solved(root, self.function, g)
            ridge = self.regular.ridge
            return regularization.unridged_gradient(s, ridge) if ridge else s

    def solution(self, root: Root, r: Array) -> Array:
        """Return S with Y S + S Y = R, (..., n, n): the gradient of A^{1/2} for the cotangent R."""
        return self._solved(root, "sqrt", r)

    def _solved(self, root: Root, function: Function, g: Array) -> Array:
        assert self.backward is not None
        with without_autocast(g):
            if function == "isqrt" and self.regular.rtol is not None:
                assert root.eigen is not None, "a pair with rtol keeps the eigenpairs"
                return regularization.gradient_of_inverse(root.eigen, g)
            s = self.backward.call(root, function, g, **dict(self.backward_parameters))

        if not arrays.library_of(type(s)):
            result = "nothing" if s is None else f"a {_kind(s)}"
            raise TypeError(
                f"backward {self.backward.name!r} returned {result}: return the gradient, an array"
            )
        return s


@dataclass(frozen=True)
class Applied:
    """A pair for the inverse root, applied to one vector per matrix: A^{-1/2} b."""

    pair: Pair

    @property
    def forward(self) -> Method:
        """The forward method of the pair."""
        return self.pair.forward

    @property
    def backward(self) -> Method | None:
        """The backward method of the pair."""
        return self.pair.backward

    def computes_in(self, library: str, precision: str) -> str:
        """Return the wider precision in which the pair computes, see `Pair.computes_in`."""
        return self.pair.computes_in(library, precision)

    def __call__(self, a: Array, b: Array) -> Array:
        """Return A^{-1/2} b: (..., n, n), (..., n, 1) -> (..., n, 1), differentiable in `a`."""
        apply = self.forward.apply
        if apply is not None and (self.backward is None or self.backward.recorded):
            ridge = self.pair.regular.ridge
            return apply(regularization.ridged(a, ridge) if ridge else a, b)
        return self.pair(a) @ b


def pair(
    function: Function,
    forward: str,
    backward: str | None,
    parameters: tuple[tuple[str, Any], ...] = (),
    *,
    public: bool = False,
) -> Pair:
    """Look up a pair, check its parameters, and fill in the defaults.

    parameters: those of the forward, those of the backward with the prefix `backward_`, and `ridge`
    and `rtol`, which every pair takes (see `regularization`).
    public: use the defaults of the functions `sqrtm` and `isqrtm`, with which methods stop by
    themselves if they can, rather than those of the methods, which are fixed numbers of steps.
    Raises RegistryError for an unknown name or parameter, NotInstalled for a plugin whose package
    is missing, Unsupported for a forward that does not compute the requested root.
    """
    # The cache key includes the types, because 1 == 1.0 == True. A value that cannot be hashed,
    # such as a list, bypasses the cache; the check of the parameters then refuses it.
    kinds = tuple(type(value) for _, value in parameters)
    look_up = _pair if all(kind.__hash__ for kind in kinds) else _pair.__wrapped__
    return look_up(function, forward, backward, parameters, kinds, public)


def forget() -> None:
    """Clear the cache of pairs, after a method was removed from the registry or changed."""
    _pair.cache_clear()


@lru_cache(maxsize=256)
def _pair(
    function: Function,
    forward: str,
    backward: str | None,
    parameters: tuple[tuple[str, Any], ...],
    kinds: tuple[type, ...],
    public: bool,
) -> Pair:
    del kinds
    f = registry.lookup("forward", forward)
    b = None if backward is None else registry.lookup("backward", backward)
    if f.other_functions:
        which = " and ".join(f.other_functions)
        raise Unsupported(f"{f.name} computes no root: measure it with function = {which}")
    if function not in f.functions:
        raise Unsupported(f"{f.name} does not compute {function}")
    regular, given = regularization.split(dict(parameters))
    mine = {k: v for k, v in given.items() if not k.startswith("backward_")}
    theirs = {k.removeprefix("backward_"): v for k, v in given.items() if k.startswith("backward_")}

    if theirs and b is None:
        raise RegistryError(f"backward_{next(iter(theirs))} is given, but there is no backward.")
    if b is not None and b.recorded and f.opaque:
        raise Unsupported(
            f"{b.name} differentiates the operations of the forward, and torch cannot "
            f"differentiate those of {f.name}: take backward loewner, which needs only the roots"
        )

    saved: tuple[str, ...] = ()
    if b is not None and not b.recorded:
        # The root itself comes first, if it is saved at all, because a call returns it.
        saved = tuple(sorted(_saved(f, b, function), key=lambda name: name != function))
    if regular.rtol is not None:
        _check_eigenvalues(f, b)
    registry.import_package(f)  # imported here so that the first call does not include it

    return Pair(
        function,
        f,
        b,
        tuple(f.complete(mine, public=public).items()),
        tuple(b.complete(theirs, public=public).items()) if b else (),
        saved,
        regular,
    )


def _check_eigenvalues(forward: Method, backward: Method | None) -> None:
    """Raise Unsupported if a pair cannot set small eigenvalues to zero, as the parameter rtol asks.

    That takes a forward that yields eigenvalues and, if there is a backward, Loewner's.
    """
    if "eigen" not in forward.fields:
        raise Unsupported(
            f"the option rtol needs the eigenvalues, which {forward.name} does not yield: take "
            "forward eigh"
        )
    if backward is not None and backward.name != "loewner":
        raise Unsupported(
            f"the option rtol works with backward loewner only, not with {backward.name}"
        )


def _saved(forward: Method, backward: Method, function: Function) -> tuple[str, ...]:
    """Return the fields to save for a backward: those it reads if the forward yields them all.

    Otherwise these are the roots in the Lyapunov equation. Raises Unsupported if the forward does
    not yield the fields that the backward needs.
    """
    if backward.fields and set(backward.fields) <= set(forward.fields):
        return backward.fields

    needed = ("sqrt",) if function == "sqrt" else ("sqrt", "isqrt")
    has_roots = set(needed) <= set(forward.fields)
    instead = f"backward {'loewner' if has_roots else 'autodiff'}"
    if forward.opaque and not has_roots:
        instead = "another forward"
    if backward.only:
        raise Unsupported(
            f"{forward.name} does not yield {' and '.join(backward.fields)}, "
            f"which {backward.name} needs: take {instead}"
        )
    if not has_roots:
        raise Unsupported(
            f"{forward.name} does not yield the roots that {backward.name} needs for {function}: "
            f"take {instead}"
        )
    return needed


def _kind(x: object) -> str:
    return f"{type(x).__module__}.{type(x).__name__}"


def without_autocast(a: Array) -> AbstractContextManager[Any]:
    """Return a context without autocast, so that a method computes in the precision of its input.

    Autocast would compute products in half precision and the rest in float32, which would leave
    the root of float32 matrices with two correct digits or none.
    """
    if arrays.library(a) != "torch":
        return nullcontext()
    device = a.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)
