"""What a method must return: an array of the input's own kind, whose numbers are there."""

from typing import Any

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.measure.admission import Violation


def require_like(name: str, x: Any, shape: tuple[int, ...], a: Array) -> None:
    """Raise Violation for an output that is not a plain array like the input `a`.

    name: `root` or `gradient`. shape: what the output must have.
    A subclass could put its work off until somebody looks at it, and so could a tensor without
    memory of its own. What lies on another device was moved there, or was never computed here.
    """
    if type(x) is not type(a) and not _is_parameter(x, a):
        raise Violation(f"the {name} is a {_kind(x)}, not a {_kind(a)}")
    if tuple(x.shape) != shape:
        raise Violation(f"the {name} has shape {tuple(x.shape)}, not {shape}")
    if x.dtype != a.dtype:
        got, right = arrays.dtype_name(x), arrays.dtype_name(a)
        raise Violation(f"the {name} has dtype {got}, not {right}")
    if arrays.library(a) != "numpy" and x.device != a.device:
        raise Violation(f"the {name} is on {x.device}, not on {a.device}")
    if arrays.library(a) == "torch":
        _require_memory(name, x)


def _require_memory(name: str, x: Any) -> None:
    """Raise Violation for a tensor that has no memory, or whose numbers are not what it holds."""
    import torch

    if x.layout is not torch.strided:
        raise Violation(f"the {name} is a tensor of layout {x.layout}, not torch.strided")
    if x._is_zerotensor() or x.is_neg() or x.is_conj():
        raise Violation(f"the {name} is a lazy view: its last operation was not carried out")
    if torch._C._functorch.is_functorch_wrapped_tensor(x):
        raise Violation(f"the {name} is a tensor of torch.func, which stands for others")
    held = x.untyped_storage()
    if x.numel() and (not held.nbytes() or held.device != x.device):
        raise Violation(f"the {name} has no memory on {x.device}")


def _is_parameter(x: Any, a: Array) -> bool:
    """Whether it is a torch Parameter, which is a plain tensor under another name."""
    if arrays.library(a) != "torch":
        return False
    import torch

    return type(x) is torch.nn.Parameter and type(a) is torch.Tensor


def _kind(x: object) -> str:
    return f"{type(x).__module__}.{type(x).__name__}"
