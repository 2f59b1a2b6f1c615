"""The methods by name: built in, from a user's file, and plugins with an entry point."""

import hashlib
import importlib
import importlib.util
import pkgutil
import sys
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path

from mssbench import registry
from mssbench.errors import NotInstalled, RegistryError, unknown
from mssbench.registry import Kind, Method


@cache
def load() -> None:
    """Import every built-in method, once. They import no array library, so this is cheap."""
    for package in ("forward", "backward"):
        path = str(Path(__file__).parent / package)
        for module in pkgutil.iter_modules([path]):
            importlib.import_module(f"mssbench.{package}.{module.name}")


def load_file(path: Path) -> None:
    """Run a file of a user's own methods (`--also`), once. Raises RegistryError if it fails."""
    name = f"mssbench_also_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise RegistryError(f"--also {path}: there is no such Python file.")
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise RegistryError(f"--also {path}: {type(error).__name__}: {error}") from error


def lookup(kind: Kind, name: str) -> Method:
    """The method called `name`, importing the plugin that owns it only now.

    An entry point carries the method's own name, so a suite that does not ask for a plugin never
    imports it. Raises RegistryError for an unknown name, NotInstalled for a missing package.
    """
    load()
    table = registry.TABLES[kind]
    if name not in table:
        _load_plugin(kind, name)
    if reason := missing(table[name]):
        raise NotInstalled(reason)
    return table[name]


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


def known(kind: Kind) -> dict[str, Method]:
    """Every method registered so far: built in, from `--also`, and the plugins that were named."""
    load()
    return dict(sorted(registry.TABLES[kind].items()))


def load_plugins(kind: Kind) -> dict[str, str]:
    """Import every plugin, to list it beside the rest. Returns those that fail: name to reason."""
    load()
    failed = {}
    for name in sorted(_plugins(kind).names):
        try:
            _load_plugin(kind, name)
        except (NotInstalled, RegistryError) as error:
            failed[name] = str(error)
    return failed


def names(kind: Kind) -> list[str]:
    """Every name that `lookup` knows. Imports no plugin."""
    load()
    return sorted({*registry.TABLES[kind], *_plugins(kind).names})


def _plugins(kind: Kind) -> EntryPoints:
    return entry_points(group=f"mssbench.{kind}")


def _load_plugin(kind: Kind, name: str) -> None:
    """Import the plugin that offers `name`. Whatever is wrong with it is said, with its package."""
    found = _plugins(kind).select(name=name)
    if not found:
        raise RegistryError(unknown(kind, name, names(kind)))
    owners = [f"{p.dist.name} {p.dist.version}" if p.dist else p.value for p in found]
    if len(owners) > 1:
        raise RegistryError(f"{kind} {name!r} is offered twice: by {' and by '.join(owners)}.")
    (plugin,), who = found, f"{kind} {name!r} of {owners[0]}"
    try:
        plugin.load()
    except ModuleNotFoundError as error:
        raise NotInstalled(f"{who} needs {error.name}: pip install {error.name}") from error
    except Exception as error:  # a stranger's module may fail in any way, and is a row like others
        raise NotInstalled(f"{who} cannot be imported: {type(error).__name__}: {error}") from error
    if name not in registry.TABLES[kind]:
        raise NotInstalled(f"{who} registers no such {kind}: entry point and function must agree")


@cache
def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _install_line(method: Method) -> str:
    ours = method.call.__module__.startswith("mssbench.")
    return "pip install " + ("'mssbench[peers]'" if ours else method.package.partition(".")[0])
