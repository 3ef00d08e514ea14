"""The journal position of the first answer to a repeated command, which its caller gets again.

It is looked up outside any write transaction, by an index, and only for repetitions.
"""

from abc import ABC, abstractmethod

from allocation.adapters.journal.journal import PostgreSQLJournal
from allocation.adapters.journal.ledger import OF_LOT_ALONE, of_types
from allocation.adapters.journal.tokens import ConsistencyToken, marked
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.fetching import Row
from allocation.domain.events import Alloué, Désalloué, LotCréé, QuantitéLotModifiée, RuptureDeStock
from allocation.domain.lignes import CléLigne

# `OFFSET 0`: the few events of a line or a lot must be found by their index, not by scanning from the
# journal's end, which the planner would think cheaper.
_ANSWERED = f"""
    SELECT max(position) AS position FROM (
        SELECT position FROM journal
        WHERE id_commande = %(id_commande)s AND sku = %(sku)s AND ligne = %(ligne)s
          AND {of_types(Alloué, RuptureDeStock)}
        OFFSET 0
    ) AS of_line
"""  # noqa: S608 - our own text
_OF_REFERENCE = f"réf_lot = %(réf)s AND {OF_LOT_ALONE}"
_OF_LOT = f"{_OF_REFERENCE} AND sku = %(sku)s"
_RECEIVED = f"""
    SELECT max(position) AS position FROM (
        SELECT position FROM journal WHERE {_OF_LOT} AND {of_types(LotCréé)}
        OFFSET 0
    ) AS of_lot
"""  # noqa: S608 - our own text


def _corrected(about: str) -> str:
    """SELECT: the last position of the last correction of the subject of these rows.

    The events of a correction are adjacent: one Désalloué for each line that it took off, the correction
    itself, and what became of each of these lines.
    """
    return f"""
        SELECT corrected.position + (
            SELECT count(*) FROM journal
            WHERE position < corrected.position AND position > coalesce((
                SELECT position FROM journal
                WHERE position < corrected.position AND NOT ({of_types(Désalloué)} AND réf_lot = %(réf)s)
                ORDER BY position DESC LIMIT 1
            ), 0)
        ) AS position
        FROM (
            SELECT max(position) AS position FROM (
                SELECT position FROM journal
                WHERE {about} AND {of_types(LotCréé, QuantitéLotModifiée)}
                OFFSET 0
            ) AS of_lot
        ) AS corrected
    """  # noqa: S608 - our own text


_CORRECTED = _corrected(_OF_LOT)
_CORRECTED_OF_REFERENCE = _corrected(_OF_REFERENCE)


class AbstractOriginalPositions(ABC):
    """Port: finds the position that the first answer to a command had, and the token.

    Which of these questions a command asks is declared with its handler. Each raises StorageUnavailable.
    """

    def token_at(self, position: int | None) -> ConsistencyToken:
        """The token of this position; if it is None, of the journal's end, which is never too early."""
        return self.marked(self.end() if position is None else position)

    @abstractmethod
    def of_allocation(self, sku: str, clé: CléLigne) -> int | None:
        """Where the line got its lot or was refused, whichever came last."""

    @abstractmethod
    def of_receipt(self, réf_lot: str, sku: str) -> int | None:
        """Where the lot was received."""

    @abstractmethod
    def of_correction(self, réf_lot: str, sku: str | None) -> int | None:
        """The end of the lot's last correction, or its receipt if there was none.

        Without a SKU, all lots that have the reference by now count: the result is never too early.
        """

    @abstractmethod
    def marked(self, position: int) -> ConsistencyToken:
        """The token of the event at this position."""

    @abstractmethod
    def end(self) -> int:
        """The journal's last position."""


class PostgreSQLOriginalPositions(AbstractOriginalPositions):
    """Asks the journal, each by one SELECT."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_allocation(self, sku: str, clé: CléLigne) -> int | None:
        id_commande, ligne = clé
        line = {"id_commande": id_commande, "sku": sku, "ligne": ligne}
        return _position_in(self._database.fetch(_ANSWERED, line))

    def of_receipt(self, réf_lot: str, sku: str) -> int | None:
        return _position_in(self._database.fetch(_RECEIVED, {"sku": sku, "réf": réf_lot}))

    def of_correction(self, réf_lot: str, sku: str | None) -> int | None:
        query = _CORRECTED_OF_REFERENCE if sku is None else _CORRECTED
        return _position_in(self._database.fetch(query, {"sku": sku, "réf": réf_lot}))

    def marked(self, position: int) -> ConsistencyToken:
        return marked(self._database.fetch, position)

    def end(self) -> int:
        with self._database.reading() as connection:
            return PostgreSQLJournal(connection).last_position()


def _position_in(rows: list[Row]) -> int | None:
    [row] = rows
    position: int | None = row["position"]
    return position
