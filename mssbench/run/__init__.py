"""Measure a suite into a folder: order of the cells, passes, resuming, and the final table.

The package can be called: `mssbench.run("quick", set={"size": [8, 16]})` measures a suite and
returns its rows as a pandas DataFrame. `help(mssbench.run.__call__)` lists all arguments.

A cell is one combination of method, problem, size, batch and so on. A pass measures every cell
once; a run makes several, since a machine changes more between passes than between samples.
"""

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from mssbench.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

_Parameters = ParamSpec("_Parameters")
_Returned = TypeVar("_Returned")


def _names_wrong_arguments(
    function: Callable[_Parameters, _Returned],
) -> Callable[_Parameters, _Returned]:
    """Return `mssbench.run` with a better TypeError for an argument that it does not have.

    That of Python names the nearest right argument only from 3.13 on, and an internal function.
    """
    known = [name for name in inspect.signature(function).parameters if name != "self"]

    @wraps(function)
    def call(*arguments: _Parameters.args, **named: _Parameters.kwargs) -> _Returned:
        for name in named:
            if name not in known:
                raise TypeError(f"mssbench.run: {unknown('argument', name, known)}")
        return function(*arguments, **named)

    return call


class _CallablePackage(ModuleType):
    """The class of this package, which is also the public function `mssbench.run`.

    Both have one name, and a function under that name would not last: Python stores a package as an
    attribute of its parent when the package is first imported, which anything of ours may do later.
    `mssbench.run` would then be the function before and the package after. As the package itself is
    callable, there is one object, whatever is imported in which order. Python allows this: the
    class of a module may be replaced by a subclass of ModuleType (language reference, "Customizing
    module attribute access").
    """

    @_names_wrong_arguments
    def __call__(
        self,
        suite: str | Path,
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002
        only: str | None = None,
        out: str | Path | None = None,
        effort: str | None = None,
        device: str | None = None,
        minutes: float | None = None,
        matrices: str | Path | None = None,
        key: str | None = None,
        kind: str | None = None,
        also: str | Path | Iterable[str | Path] = (),
        fresh: bool = False,
    ) -> "pd.DataFrame":
        """Measure a suite, or the part of it that its folder lacks, and return its rows.

        The arguments are described in mssbench.cli.notebook.run. An argument that is not among them
        raises a TypeError, which names the nearest one.
        For example `mssbench.run("quick", set={"size": [8, 16]}, only="backward == 'loewner'")`.
        """
        # By name, as in mssbench/__init__.py: a public name leads to wherever its function is, and
        # this package itself needs nothing of the packages above it.
        function = import_module("mssbench.cli.notebook").run
        rows: pd.DataFrame = function(
            suite,
            set=set,
            only=only,
            out=out,
            effort=effort,
            device=device,
            minutes=minutes,
            matrices=matrices,
            key=key,
            kind=kind,
            also=also,
            fresh=fresh,
        )
        return rows


sys.modules[__name__].__class__ = _CallablePackage
