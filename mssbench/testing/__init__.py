"""Contract tests for the authors of methods: what every registered root must keep.

In a test file of a package that brings a method:

    import pytest
    from mssbench import testing

    @pytest.mark.parametrize(
        "contract", testing.contracts(forward="visser", iterations=60), ids=testing.name
    )
    def test_visser_keeps_its_contract(contract):
        contract()

The tests of mssbench call the same functions for every pair of its own methods.
"""

from mssbench.testing.contract import Case, contracts, declaration, name, of_a_pair

__all__ = ["Case", "contracts", "declaration", "name", "of_a_pair"]
