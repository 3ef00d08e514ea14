"""Consistency tokens: a write returns one, and a read that sends it back reflects that write.

A token identifies an event, not just a position. After a restore to a point in time, or a failover that lost
transactions, the journal continues from an earlier position, and other events get the positions of the lost
ones. The mark tells them apart.
"""

import re
from typing import NamedTuple, Self
from uuid import UUID

from allocation.adapters.postgresql.fetching import Fetch, LookUp

# The largest bigint of PostgreSQL.
POSITION_MAX = 2**63 - 1

_FORM = re.compile("([0-9]{1,18})(?:-([0-9a-f]{8}))?")
_MARK = "left(coalesce(cause, id)::text, 8)"
_MARK_AT = f"SELECT {_MARK} AS mark FROM journal WHERE position = %(position)s"  # noqa: S608 - our own text
# The journal's end, the mark at the position, and up to where the journal is archived: for each key.
_KNOWN = f"""
    SELECT coalesce((SELECT max(position) FROM journal), 0),
           (SELECT {_MARK} FROM journal WHERE position = asked.position),
           coalesce((SELECT max(dernière_position) FROM journal_archives), 0)
    FROM ROWS FROM (json_to_recordset($1) AS (position bigint)) WITH ORDINALITY AS asked (position, place)
    ORDER BY place
"""  # noqa: S608 - our own text


class ConsistencyToken(NamedTuple):
    """An event of the journal: its position and, unless only the position is known, its mark."""

    position: int
    mark: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The token in this text. Raises ValueError."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"no token: {text:.40}")
        return cls(int(match[1]), match[2])

    def __str__(self) -> str:
        return str(self.position) if self.mark is None else f"{self.position}-{self.mark}"


def mark_of(cause: UUID) -> str:
    """The mark of the events that follow from this cause."""
    return cause.hex[:8]


def marked(fetch: Fetch, position: int) -> ConsistencyToken:
    """The token of the event at this position, without a mark if the event is no longer in the journal."""
    found = [row["mark"] for row in fetch(_MARK_AT, {"position": position})]
    return ConsistencyToken(position, found[0] if found else None)


async def is_known(look_up: LookUp, token: ConsistencyToken) -> bool:
    """Whether the journal has the event of this token.

    Archived events count as known, as every reader has passed them. So does any position without a mark, up
    to the end of the journal.
    """
    end, mark, horizon = await look_up(_KNOWN, {"position": token.position})
    if token.position > int(end or 0):
        return False
    if token.mark is None or token.position <= int(horizon or 0):
        return True
    return mark is not None and mark.decode() == token.mark
