"""The scripts of the page follow the rules of the Python code that they repeat."""

import random
import struct
from collections.abc import Callable
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any

import pytest

from mssbench.records import units
from mssbench.report.figures.axes import Axis, ends

SPECIAL = [0.0, 1.0, 9.995, 9.9949999, 99.95, 999.5, 999.4999, 0.9995, 0.99949999, 1e-3]
SPECIAL += [1e6, 999999.4, 999999.6, 1e-9, 9.995e-10, 1e-12, 5e-324, 1.7e308, 1e21, 1e22, 123456789]
SPECIAL += [1023.4, 1023.5, 1024, 1536, 2**20, 2**30 * 0.9995, 2**40, 0.44, 1 / 3, 2.5, 3.5, 0.5]
SPECIAL += [x * y for x in (1.0, 1.5, 2.5, 9.5, 9.995, 2.675) for y in (1e-7, 1e-6, 1e-3, 10, 1e3)]


def values(count: int, *, signed: bool) -> list[float]:
    """Special values, values of every order of magnitude, and random bit patterns."""
    chance = random.Random(2026)
    found = list(SPECIAL)
    found += [10 ** chance.uniform(-12, 12) for _ in range(count)]
    found += [round(10 ** chance.uniform(-9, 9), chance.randrange(12)) for _ in range(count)]
    found += [chance.randrange(1, 10**6) / 2 ** chance.randrange(0, 20) for _ in range(count)]
    bits = (struct.unpack("d", chance.randbytes(8))[0] for _ in range(count))
    found += [abs(x) for x in bits if isfinite(x)]
    return [*found, *(-x for x in found)] if signed else found


WRITERS: dict[str, tuple[Callable[[float], str], bool]] = {
    "seconds": (units.seconds, False),
    "size": (units.size, False),
    "error": (units.error, True),
    "number": (units.number, True),
    "ratio": (units.ratio, False),
}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", WRITERS)
def test_texts_are_those_of_units(quick: Path, opened: Callable[..., Any], name: str) -> None:
    write, signed = WRITERS[name]
    numbers = values(4000, signed=signed)
    with opened(quick) as tab:
        texts = tab.page.evaluate(f"(all) => all.map(report.texts.{name})", numbers)
        wrong = [
            (x, text, write(x)) for x, text in zip(numbers, texts, strict=True) if text != write(x)
        ]
        assert not wrong[:10], len(wrong)
        for missing in ("null", "NaN", "Infinity", "-Infinity"):
            assert tab.page.evaluate(f"report.texts.{name}({missing})") == "-"
    if name != "ratio":
        assert write(nan) == write(inf) == "-"


AXES = [
    Axis("x", "", log=log, ticks=ticks)
    for log, ticks in ((True, "round"), (True, "values"), (False, "values"))
]


def samples(axis: Axis) -> list[list[float]]:
    """Values along an axis: few or many, close together or far apart, and of any sign."""
    chance = random.Random(7)
    found: list[list[float]] = [[], [0.0], [1.0], [1e-300, 1e300], [-1.0, 0.0]]
    found += [[10.0**k] for k in range(-20, 20)]
    found += [[10.0**k, 10.0**j] for k in range(-9, 9) for j in range(k, 9)]
    found += [
        [x * 10.0**k, y * 10.0**k]
        for x in (1, 2, 5, 9.99)
        for y in (10, 20, 29.9, 30)
        for k in (-7, 0, 3)
    ]
    for _ in range(1500):
        wide, middle = chance.choice([0.01, 0.5, 3, 12]), chance.uniform(-9, 9)
        many = chance.choice([1, 2, 5, 40])
        some = [10 ** chance.uniform(middle - wide, middle + wide) for _ in range(many)]
        if not axis.log:
            some = [x * chance.choice([-1, 1]) for x in some]
        found.append(some + chance.choice([[], [0.0], [nan], [inf], [-3.0]]))
    return found


@pytest.mark.sampled(1)
@pytest.mark.parametrize("axis", AXES, ids=["powers", "values", "linear"])
def test_ends_are_those_of_figures(quick: Path, opened: Callable[..., Any], axis: Axis) -> None:
    given = samples(axis)
    as_json = [[None if x != x else x for x in some if abs(x) != inf] for some in given]
    described = axis._asdict()
    with opened(quick) as tab:
        found = tab.page.evaluate(
            "([axis, all]) => all.map((some) => report.ends(axis, some))", [described, as_json]
        )
    for some, (low, high, ticks) in zip(given, found, strict=True):
        wanted = ends(axis, some)
        assert [low, high] == pytest.approx(wanted[:2], rel=1e-12), some
        assert ticks == pytest.approx(wanted[2], rel=1e-12), some
