"""A cell, and the key of its rows."""

from dataclasses import asdict, replace

from helpers.cells import CELL

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
