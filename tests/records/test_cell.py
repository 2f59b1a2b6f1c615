"""A cell, and the key of its rows."""

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

from helpers.cells import CELL
from hypothesis import given
from hypothesis import strategies as st

from mssbench.records.cell import CACHES, CLOCKS, clocks
from mssbench.records.measurement import Status, uniform
from mssbench.records.schema import KEY


def test_the_fields_of_a_cell_are_those_of_the_dataclass_in_their_order() -> None:
    assert list(CELL.fields.items()) == list(asdict(CELL).items())
    assert CELL.cell_id != replace(CELL, seed=CELL.seed + 1).cell_id


def test_the_key_of_a_row_is_what_its_columns_of_the_key_have() -> None:
    for backward in ("none", "loewner"):
        for measurement in uniform(replace(CELL, backward=backward), Status.INTERRUPTED, ""):
            row = measurement.row()
            assert measurement.key == {name: row[name] for name in KEY}


@given(
    problem=st.text(),
    options=st.text(),
    size=st.integers(1, 2**40),
    iterations=st.none() | st.integers(0, 99) | st.booleans(),
)
def test_an_id_is_the_hash_of_the_fields_as_json(**given_fields: Any) -> None:
    """Stored tables have these ids, so that they must never change."""
    cell = replace(CELL, **given_fields)
    text = json.dumps(asdict(cell), sort_keys=True)
    assert cell.cell_id == hashlib.sha256(text.encode()).hexdigest()[:16]


def test_values_that_are_equal_but_written_differently_have_different_ids() -> None:
    one, true = (replace(CELL, iterations=x) for x in (1, True))
    assert one == true
    assert one.cell_id != true.cell_id


def test_every_clock_and_cache_of_a_gpu_is_in_the_lists_and_no_other() -> None:
    pairs = clocks(replace(CELL, device="cuda"))
    assert ({clock for clock, _ in pairs}, {cache for _, cache in pairs}) == ({*CLOCKS}, {*CACHES})
    assert {*clocks(replace(CELL, device="cpu"))} < {*pairs}
