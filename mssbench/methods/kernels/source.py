"""The CUDA C++ of one variant as one text: NVRTC has no folder to include from."""

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from mssbench.methods.kernels.variants import Variant

FOLDER = Path(__file__).parent
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)
# Products and sums are joined where the source says fma, and nowhere else: then a GPU gives the
# bits that the emulation gives. CuPy asks for ftz whatever we say, so everybody else does too.
OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=true")


@lru_cache
def source(variant: Variant) -> str:
    """What to compile for it; the kernel is `variant.symbol`."""
    return sources([variant])


def sources(variants: Iterable[Variant]) -> str:
    """The same for several of them."""
    variants = list(variants)
    seen: set[str] = set()
    texts = [_text(f"{family}.cuh", seen) for family in dict.fromkeys(v.family for v in variants)]
    return "\n".join([*texts, *(v.declaration for v in variants), ""])


def _text(name: str, seen: set[str]) -> str:
    """A file with what it includes, each once."""
    if name in seen:
        return ""
    seen.add(name)
    text = (FOLDER / name).read_text(encoding="utf-8").replace("#pragma once\n", "")
    return _INCLUDE.sub(lambda found: _text(found[1], seen), text)
