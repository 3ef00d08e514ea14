"""A group commit in front of a stand-in for the write model."""

from collections.abc import Iterator

import pytest
from tests.transactions import Group, Observations, Transactions

from allocation.service_layer.group_commit import GroupCommit
from allocation.service_layer.limits import Limits


@pytest.fixture
def transactions() -> Iterator[Transactions]:
    transactions = Transactions()
    yield transactions
    transactions.free.set()


@pytest.fixture
def observed() -> Observations:
    return Observations()


@pytest.fixture
def group(transactions: Transactions, observed: Observations) -> Group:
    """A group commit in which the first letter of a command is its key."""

    def make(**limits: float) -> GroupCommit[str]:
        return GroupCommit(
            transactions.transact,
            key=lambda message: message[0],
            limits=Limits(**limits),  # type: ignore[arg-type]
            observer=observed,
        )

    return make
