"""Forward and backward methods by name, and what may be asked of each.

A *forward* computes a root; a *backward* turns the root's cotangent into the gradient. They meet
only in `Root`, so any forward pairs with any backward.
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
from mssbench.methods.method import FUNCTIONS, Kind, Method, Root, Wanted
from mssbench.registries import Registry, check_function


@cache
def load() -> None:
    """Import every built-in method, once. They import no array library, so this is cheap."""
    for package in ("forward", "backward"):
        folder = str(Path(__file__).parent / package)
        for module in pkgutil.iter_modules([folder]):
            importlib.import_module(f"mssbench.methods.{package}.{module.name}")


REGISTRIES: dict[Kind, Registry[Method]] = {
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
    """Register `f(a, wanted, *, <parameters>) -> Root` under its own name, which is not `auto`.

    a: (..., n, n), symmetric positive semidefinite; it is not written to.
    wanted: names of the fields of Root that will be used; others may stay None. A forward that
    always computes everything may leave this argument out.

    cite: the source. products: (**parameters) -> the cost of one call in batched products.
    yields: the fields of Root it can give. inexact: why no choice of its parameters makes it exact,
    where none does. at_singular: what is wrong with a gradient behind it if A is singular; without
    it, the root has no part in null directions. cuts_null: its eigenvalues have passed
    `decomposition.without_null` wherever no inverse root is wanted; else a pair does that.
    sizes: the n it takes, where that is not any. package: the module it imports when called and
    not before, where that may be missing, so that a list of methods stays cheap.
    opaque: autograd would not find the gradient in what it does, so no recorded backward takes it.
    apply: (a, b) -> A^{-1/2} b, b (..., n, 1), for a method that needs no inverse root for it.
    of_features: X -> (X Xᵀ / M)^{1/2}, X (..., n, M), differentiable, for a method that does not
    need the covariance.
    whitens: A -> W, (..., n, n), differentiable, with W A Wᵀ = I, for a method that needs no root;
    the inverse of the Cholesky factor, as it is judged by the gradient of that.
    takes_logarithm: A -> log A, differentiable. The rows of these three are those of the functions
    sqrt_x, whiten and log.
    launches: how often a call starts something on a GPU, where that is not once for each product.
    devices: those it runs on, where that is not any; on others it raises Unsupported.
    computes: library -> the wider precision that its decompositions and solves have there, whatever
    the array's is: NUMPY_IN_DOUBLE for all that call numpy.linalg.
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
    """Register `f(root, function, g, *, <parameters>) -> s` under its own name.

    g: the symmetric cotangent of `function`; s: dL/dA, symmetric. `root` carries the fields named
    in `reads` where the forward yields them all, else the roots of the Lyapunov equation: Y, and
    Z for the inverse root. Most backwards solve that equation and use
    `backward.implicit.lyapunov_solver` instead of this.

    only: it can do with nothing else than what it reads, and pairs with no other forward.
    recorded: register `f(forward, a) -> root` instead; autograd differentiates what it does.
    inexact: why no choice of its parameters makes it exact, where none does.
    at_singular: what is wrong with its gradient if A is singular, compared with the gradient to
    features X with A = X Xᵀ / M, which exists.
    symmetrizes: g is handed to it as it came, and its symmetric part is taken inside.
    solves: for the root A^{1/2} it returns S with Y S + S Y = G, whatever symmetric G is. Second
    derivatives and forward mode are made of such solutions; without it they are refused.
    launches, devices, computes: as of a forward. What it computes counts where it decomposes or
    solves itself, and not where the forward yields what it reads.
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


def lookup(kind: Kind, name: str) -> Method:
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

    Raises what `lookup` raises.
    """
    first = lookup("forward", forward)
    return first, None if backward == "none" else lookup("backward", backward)


def known(kind: Kind) -> dict[str, Method]:
    """Return every method registered so far: built in, from `--also`, and plug-ins asked for."""
    return REGISTRIES[kind].known()


@contextmanager
def temporarily() -> Iterator[None]:
    """Forget at the end of the block the methods that were registered inside it."""
    with REGISTRIES["forward"].temporarily(), REGISTRIES["backward"].temporarily():
        yield


def missing(method: Method) -> str:
    """Which package the method lacks here, with its install line; empty where it lacks none."""
    name = method.package.partition(".")[0]
    if not name or _is_installed(name):
        return ""
    return f"{method.kind} {method.name!r} needs {name}: {_install_line(method)}"


def import_package(method: Method) -> None:
    """Import what the method needs beside its array library. Raises NotInstalled if it fails."""
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
