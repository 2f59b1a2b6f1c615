"""The registry of forward and backward methods, with the decorators that register them.

A *forward* computes a root; a *backward* turns the root's cotangent into the gradient. They
exchange data only through `Root`, so that any forward can be paired with any backward.
"""

import importlib.util
import inspect
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.errors import NotInstalled, RegistryError
from mssbench.methods import auto, registration
from mssbench.methods.method import FUNCTIONS, Method, MethodKind, Root, Wanted
from mssbench.registries import Registry, check_function


@cache
def load() -> None:
    """Import all built-in methods, once. This is fast, since none of them imports torch or cupy."""
    for package in ("forward", "backward"):
        folder = str(Path(__file__).parent / package)
        for module in pkgutil.iter_modules([folder]):
            importlib.import_module(f"mssbench.methods.{package}.{module.name}")


REGISTRIES: dict[MethodKind, Registry[Method]] = {
    "forward": Registry("forward", load),
    "backward": Registry("backward", load),
}


def register_forward(
    *,
    cite: str,
    products: Callable[..., float],
    yields: Collection[str] = FUNCTIONS,
    libraries: Collection[str] = arrays.LIBRARIES,
    precisions: Collection[str] = tuple(arrays.STORAGE),
    inexact: str = "",
    at_singular: str = "",
    cuts_null: bool = False,
    sizes: Collection[int] = (),
    package: str = "",
    opaque: bool = False,
    apply: Callable[[Array, Array], Array] | None = None,
    of_features: Callable[[Array], Array] | None = None,
    whitens: Callable[[Array], Array] | None = None,
    takes_logarithm: Callable[[Array], Array] | None = None,
    launches: int = 0,
    devices: Collection[str] = (),
    computes: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[Callable[..., Root]], Callable[..., Root]]:
    """Register `f(a, wanted, *, <parameters>) -> Root` as a forward under the function's name.

    The name `auto` is reserved. Arguments of the registered function:

    a: (..., n, n), symmetric positive semidefinite. The function must not write to it.
    wanted: names of the fields of Root that will be used; other fields may stay None. A forward
    that always computes all its fields may leave this argument out.

    Arguments of the decorator:

    cite: the source.
    products: (**parameters) -> the cost of one call in batched products.
    yields: the fields of Root that it can compute.
    libraries, precisions: those that it takes.
    inexact: the reason why no choice of parameters makes it exact; empty if some choice does.
    at_singular: what is wrong with gradients of its root if A is singular. Empty means that the
    root is zero in null directions, so that the gradient is right.
    cuts_null: whether it sets eigenvalues that are zero but for rounding to zero itself, by
    `decomposition.without_null`, whenever no inverse root is wanted. For a forward without this
    flag, `Pair` does so.
    sizes: the sizes n that it takes; empty for any.
    package: an optional module that it imports when it is called, and not before, so that listing
    the methods stays cheap.
    opaque: whether autograd cannot differentiate it. It then has no backward that runs through
    its recorded operations, such as autodiff.
    apply: (a, b) -> A^{-1/2} b with b (..., n, 1), for a method that does so without forming the
    inverse root.
    of_features: X -> (X Xᵀ / M)^{1/2} with X (..., n, M), differentiable, for a method that does
    not form the covariance. Suites call this function sqrt_x.
    whitens: A -> W, (..., n, n), differentiable, with W A Wᵀ = I, for a method that does not form a
    root. Suites call it whiten. Of all such W it must be the inverse of the Cholesky factor, since
    its gradient is compared with that of this W.
    takes_logarithm: A -> log A, differentiable. Suites call it log.
    launches: the number of GPU launches of one call, if it is not about one per product.
    devices: the devices on which it runs; empty for any. On others it raises Unsupported.
    computes: library -> the wider precision in which its decompositions and solves run there,
    whatever the array's precision is: NUMPY_IN_DOUBLE for methods that call numpy.linalg.
    """

    def decorate(call: Callable[..., Root]) -> Callable[..., Root]:
        check_function("forward", call)
        registration.check_words(
            "forward",
            call.__name__,
            {
                "yields": yields,
                "libraries": libraries,
                "precisions": precisions,
                "devices": devices,
            },
        )
        if call.__name__ == auto.NAME:
            raise RegistryError(
                f"forward {auto.NAME!r} of {call.__module__} cannot be registered: "
                f'forward="{auto.NAME}" stands for the pair that was measured to be fastest. '
                "Give the function another name."
            )

        takes_wanted = "wanted" in inspect.signature(call).parameters
        _add(
            Method(
                "forward",
                call.__name__,
                call if takes_wanted else _ignore_wanted(call),
                cite,
                tuple(libraries),
                tuple(precisions),
                products,
                tuple(yields),
                inexact=inexact,
                at_singular=at_singular,
                cuts_null=cuts_null,
                sizes=tuple(sizes),
                package=package,
                opaque=opaque,
                apply=apply,
                of_features=of_features,
                whitens=whitens,
                takes_logarithm=takes_logarithm,
                launches=launches,
                devices=tuple(devices),
                computes=tuple(computes.items()),
            )
        )
        return call

    return decorate


def register_backward(
    *,
    cite: str,
    products: Callable[..., float],
    reads: Collection[str] = (),
    only: bool = False,
    recorded: bool = False,
    libraries: Collection[str] = arrays.LIBRARIES,
    precisions: Collection[str] = tuple(arrays.STORAGE),
    inexact: str = "",
    at_singular: str = "",
    symmetrizes: bool = False,
    solves: bool = False,
    launches: int = 0,
    devices: Collection[str] = (),
    computes: Mapping[str, str] = MappingProxyType({}),
) -> Callable[[Callable[..., Array]], Callable[..., Array]]:
    """Register `f(root, function, g, *, <parameters>) -> s` as a backward under its own name.

    g: (..., n, n), the symmetric cotangent of `function`; s: (..., n, n), dL/dA, symmetric. `root`
    has the fields named in `reads` if the forward yields all of them; otherwise it has the roots in
    the Lyapunov equation: Y, and also Z for the inverse root. Most backwards solve that equation
    and are registered by `backward.implicit.lyapunov_solver` instead.

    cite, products, libraries, precisions, launches, devices: as for a forward.
    only: whether it needs the fields in `reads`, and so pairs only with forwards that yield them.
    recorded: register `f(forward, a) -> root` instead, which autograd differentiates.
    inexact: the reason why no choice of parameters makes it exact; empty if some choice does.
    at_singular: what is wrong with its gradient if A is singular. The standard of comparison is the
    gradient with respect to features X with A = X Xᵀ / M, which exists.
    symmetrizes: whether it takes any cotangent and symmetrises it itself.
    solves: whether for the root A^{1/2} it returns S with Y S + S Y = G for any symmetric G. Second
    derivatives and forward mode consist of such solutions and are refused without it.
    computes: as for a forward. It counts only if the backward itself decomposes or solves, and not
    if the forward yields the fields that it reads.
    """

    def decorate(call: Callable[..., Array]) -> Callable[..., Array]:
        check_function("backward", call)
        registration.check_words(
            "backward",
            call.__name__,
            {"reads": reads, "libraries": libraries, "precisions": precisions, "devices": devices},
        )
        _add(
            Method(
                "backward",
                call.__name__,
                call,
                cite,
                tuple(libraries),
                tuple(precisions),
                products,
                tuple(reads),
                recorded,
                inexact=inexact,
                at_singular=at_singular,
                only=only,
                symmetrizes=symmetrizes,
                solves=solves,
                launches=launches,
                devices=tuple(devices),
                computes=tuple(computes.items()),
            )
        )
        return call

    return decorate


def _add(method: Method) -> None:
    registration.check(method)
    REGISTRIES[method.kind].add(method)


def _ignore_wanted(call: Callable[..., Root]) -> Callable[..., Root]:
    def uniform(a: Array, wanted: Wanted, **parameters: Any) -> Root:
        del wanted
        return call(a, **parameters)

    uniform.__wrapped__ = call  # type: ignore[attr-defined]  # signature, docstring, source
    uniform.__module__ = call.__module__
    uniform.__doc__ = call.__doc__
    uniform.__annotations__ = call.__annotations__
    return uniform


def lookup(kind: MethodKind, name: str) -> Method:
    """Return the method called `name`, importing the plug-in that offers it only now.

    Raises RegistryError for an unknown name, and NotInstalled for a plug-in that cannot be
    imported or a method whose package is missing.
    """
    method = REGISTRIES[kind].lookup(name)
    if reason := missing(method):
        raise NotInstalled(reason)
    return method


def methods_of(forward: str, backward: str) -> tuple[Method, Method | None]:
    """Return the two methods of a pair; the second is None where `backward` is "none".

    Raises RegistryError for an unknown name, and NotInstalled if a plug-in cannot be imported or
    the package of a method is missing.
    """
    first = lookup("forward", forward)
    return first, None if backward == "none" else lookup("backward", backward)


def known(kind: MethodKind) -> dict[str, Method]:
    """Return all methods registered so far: built-in, from `--also`, and plug-ins in use."""
    return REGISTRIES[kind].known()


@contextmanager
def temporarily() -> Iterator[None]:
    """Return a context manager that removes at its end the methods registered in its block."""
    with REGISTRIES["forward"].temporarily(), REGISTRIES["backward"].temporarily():
        yield


def missing(method: Method) -> str:
    """Return a message with the missing package of a method and its install line, or ""."""
    name = method.package.partition(".")[0]
    if not name or _is_installed(name):
        return ""
    return f"{method.kind} {method.name!r} needs {name}: {_install_line(method)}"


def import_package(method: Method) -> None:
    """Import the optional package of a method, if it has one. Raises NotInstalled on failure."""
    if not method.package:
        return
    try:
        importlib.import_module(method.package)
    except ImportError as error:
        who = f"{method.kind} {method.name!r} cannot use the installed {method.package}"
        raise NotInstalled(f"{who}: {error}: {_install_line(method)}") from error


@cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _install_line(method: Method) -> str:
    ours = method.call.__module__.startswith("mssbench.")
    return "pip install " + ("'mssbench[peers]'" if ours else method.package.partition(".")[0])
