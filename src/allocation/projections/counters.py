"""Read models whose columns are sums: a batch of events becomes one change a row, added in one statement."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Table, func
from sqlalchemy.dialects.postgresql import insert


def add_changes(
    connection: Connection,
    table: Table,
    changes: Iterable[Mapping[str, Any]],
    *,
    sums: Iterable[str],
    earliest: Iterable[str] = (),
) -> None:
    """Add each change to the columns `sums` of its row, and keep the lesser of the columns `earliest`.

    A change holds all columns of its row; where the primary key is not in the table yet, it becomes the row.
    """
    upsert = insert(table)
    new_values = {name: table.c[name] + upsert.excluded[name] for name in sums}
    new_values |= {name: func.least(table.c[name], upsert.excluded[name]) for name in earliest}
    connection.execute(
        upsert.on_conflict_do_update(index_elements=table.primary_key.columns, set_=new_values),
        list(changes),
    )
