"""Tests for authors of methods: the contract, properties that every registered method must have.

In a test file of your package, for your method `visser`:

    import pytest
    from mssbench import testing

    @pytest.mark.parametrize(
        "contract", testing.contracts(forward="visser", iterations=60), ids=testing.name
    )
    def test_visser_keeps_its_contract(contract):
        contract()

The tests of mssbench run the same functions on every pair of its own methods.
"""

from mssbench.testing.contract import Case, contracts, declaration, name, of_a_pair

__all__ = ["Case", "contracts", "declaration", "name", "of_a_pair"]
