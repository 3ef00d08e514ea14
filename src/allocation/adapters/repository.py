"""The repository: products in and out of the write tables, never more of them than a command needs."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.pq import TransactionStatus

from allocation.adapters.change_set import ChangeSet, Snapshot
from allocation.adapters.serialization import as_json
from allocation.domain.model import CléLigne, LigneDeCommande, Lot, Placement, Produit

_LOCK_PRODUITS = """
    SELECT sku, version, dernier_rang FROM produits WHERE sku = ANY(%s) ORDER BY sku FOR NO KEY UPDATE
"""
_LOT = "SELECT référence, sku, quantité, eta, quantité_allouée, quantité_initiale FROM lots"
_OPEN_LOTS = f"{_LOT} WHERE sku = ANY(%s) AND quantité_allouée < quantité"
_NAMED_LOTS = f"{_LOT} WHERE référence = ANY(%s)"
_SKUS_OF_LOTS = "SELECT référence, sku FROM lots WHERE référence = ANY(%s)"

# The lines that are asked for, one after the other: OFFSET 0 keeps the planner from reading the whole table.
_KNOWN_LINES = """
    SELECT line.*
    FROM json_populate_recordset(NULL::order_lines, %s) AS asked
    CROSS JOIN LATERAL (
        SELECT sku, id_commande, ligne, quantité, rang,
               (SELECT réf_lot FROM allocations AS a WHERE a.sku = l.sku AND a.rang = l.rang) AS réf_lot
        FROM order_lines AS l
        WHERE l.sku = asked.sku AND l.id_commande = asked.id_commande AND l.ligne = asked.ligne
        OFFSET 0
    ) AS line
"""
# The fewest newest lines on a lot that together hold so many units. As every line holds a unit at least, no
# more lines than units need to be looked at.
_NEWEST_LINES = """
    WITH newest AS (
        SELECT l.sku, l.id_commande, l.ligne, l.quantité, l.rang, a.réf_lot
        FROM allocations AS a JOIN order_lines AS l ON l.sku = a.sku AND l.rang = a.rang
        WHERE a.sku = %(sku)s AND a.réf_lot = %(réf_lot)s
        ORDER BY - a.rang LIMIT %(units)s
    ), counted AS (
        SELECT *, sum(quantité) OVER (ORDER BY rang DESC) - quantité AS newer_units FROM newest
    )
    SELECT sku, id_commande, ligne, quantité, rang, réf_lot FROM counted WHERE newer_units < %(units)s
"""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a command will ask the repository for, as far as that can be known before it runs.

    A line is named by its SKU and its key within the product.
    """

    skus: tuple[str, ...] = ()
    lignes: tuple[tuple[str, CléLigne], ...] = ()
    réfs_lots: tuple[str, ...] = ()


class AbstractRepository(ABC):
    """Port: the products that one unit of work has loaded or added.

    `known` are all of them, by SKU; `seen` those that were handed out since somebody last emptied it.
    """

    def __init__(self) -> None:
        self.known: dict[str, Produit] = {}
        self.seen: dict[str, Produit] = {}

    @abstractmethod
    def prepare(self, needs: Sequence[Needs]) -> None:
        """Load what will be asked for at once, which is cheaper, and locks the products in one order."""

    @abstractmethod
    def add(self, produit: Produit) -> None:
        """Store a new product with the transaction."""

    @abstractmethod
    def get(self, sku: str, *lignes: LigneDeCommande) -> Produit | None:
        """The product with its lots that have units left and what is known of `lignes`; None if unknown."""

    @abstractmethod
    def get_par_réf_lot(self, réf_lot: str, quantité: int | None = None) -> Produit | None:
        """The product of this lot, with the lot, whatever is left in it; None if the lot is unknown.

        With a `quantité`, also with those of the lot's newest lines that no longer fit into that many units.
        """


class PostgreSQLRepository(AbstractRepository):
    """Products in PostgreSQL, locked from their loading to the end of the transaction.

    `transaction_id` is how PostgreSQL calls the transaction, once something has been loaded in it.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self.transaction_id: str | None = None
        self._absent: set[str] = set()
        self._snapshots: dict[str, Snapshot] = {}
        self._skus_of_lots: dict[str, str | None] = {}
        self._asked_lines: set[tuple[str, CléLigne]] = set()

    def prepare(self, needs: Sequence[Needs]) -> None:
        self._load(
            {sku for each in needs for sku in each.skus},
            {ligne for each in needs for ligne in each.lignes},
            [réf for each in needs for réf in each.réfs_lots],
        )

    def add(self, produit: Produit) -> None:
        self.seen[produit.sku] = self.known[produit.sku] = produit
        self._snapshots[produit.sku] = Snapshot(version=None)

    def get(self, sku: str, *lignes: LigneDeCommande) -> Produit | None:
        asked = {(sku, ligne.clé) for ligne in lignes} - self._asked_lines
        if asked or not (sku in self.known or sku in self._absent):
            self._load({sku}, asked, [])
        if sku in self.known:
            self.seen[sku] = self.known[sku]
        return self.known.get(sku)

    def get_par_réf_lot(self, réf_lot: str, quantité: int | None = None) -> Produit | None:
        if réf_lot not in self._skus_of_lots:
            self._load(set(), set(), [réf_lot])
        sku = self._skus_of_lots[réf_lot]
        produit = None if sku is None else self.get(sku)
        if produit is None or quantité is None:
            return produit
        lot = next(lot for lot in produit.lots if lot.référence == réf_lot)
        if lot.quantité_allouée > quantité:
            self._load_newest_lines(produit, lot, units=lot.quantité_allouée - quantité)
        return produit

    def send_changes(self) -> None:
        """Send every change to the tables; in a pipeline, its end raises what they raise.

        Raises a violation of NOT NULL where a product has another version than when it was loaded.
        """
        changes = ChangeSet()
        for sku, snapshot in self._snapshots.items():
            changes.collect(self.known[sku], snapshot)
            snapshot.remember(self.known[sku])
        self._begin()
        changes.send(self._connection)

    def _begin(self) -> None:
        if self._connection.info.transaction_status == TransactionStatus.IDLE:
            self._connection.execute("BEGIN")

    def _load(self, skus: Set[str], lignes: Set[tuple[str, CléLigne]], réfs_lots: Sequence[str]) -> None:
        """Lock these products, and load of them what is not there yet, in one round trip (two with lots)."""
        connection = self._connection
        if réfs_lots:
            found: dict[str, str] = dict(
                connection.execute(_SKUS_OF_LOTS, [list(réfs_lots)], prepare=True).fetchall()
            )
            self._skus_of_lots |= {réf: found.get(réf) for réf in réfs_lots}
            skus = skus | set(found.values())
        new = sorted(skus - self.known.keys() - self._absent)
        with connection.pipeline():
            self._begin()
            transaction = connection.execute("SELECT pg_current_xact_id()::text", prepare=True)
            produits = connection.execute(_LOCK_PRODUITS, [new], prepare=True)
            lots = connection.execute(_OPEN_LOTS, [new], prepare=True)
            named = connection.execute(_NAMED_LOTS, [list(réfs_lots)], prepare=True) if réfs_lots else None
            keys = [{"sku": sku, "id_commande": order, "ligne": line} for sku, (order, line) in lignes]
            lines = connection.execute(_KNOWN_LINES, [as_json(keys)], prepare=True) if keys else None
        [(self.transaction_id,)] = transaction
        for sku, version, dernier_rang in produits:
            self.known[sku] = Produit(sku, version=version, dernier_rang=dernier_rang)
            self._snapshots[sku] = Snapshot(version)
        self._absent.update(sku for sku in new if sku not in self.known)
        of_named = list(named or ())
        self._take_lots([*lots, *of_named])
        self._take_lines(lines or ())
        self._asked_lines |= lignes
        # Lots that were not there when their SKUs were asked for, and were when these were locked.
        if created_meanwhile := {sku for _, sku, *_ in of_named} - self.known.keys():
            self._absent -= created_meanwhile
            self._load(created_meanwhile, set(), réfs_lots)

    def _load_newest_lines(self, produit: Produit, lot: Lot, units: int) -> None:
        # Lines of commands before this one in the same transaction may be among the newest.
        self.send_changes()
        names = {"sku": produit.sku, "réf_lot": lot.référence, "units": units}
        self._take_lines(self._connection.execute(_NEWEST_LINES, names))

    def _take_lots(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for référence, sku, quantité, eta, quantité_allouée, quantité_initiale in rows:
            if sku not in self.known:
                # Committed after its product was looked for, and not locked.
                continue
            produit, snapshot = self.known[sku], self._snapshots[sku]
            if référence not in snapshot.lots:
                lot = Lot(référence, sku, quantité, eta, quantité_allouée, quantité_initiale)
                produit.lots.append(lot)
                snapshot.remember_lot(lot)
                self._skus_of_lots[référence] = sku

    def _take_lines(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for sku, id_commande, numéro, quantité, rang, réf_lot in rows:
            if sku not in self.known:
                continue
            produit, snapshot = self.known[sku], self._snapshots[sku]
            ligne = LigneDeCommande(id_commande, sku, quantité, numéro)
            if ligne.clé not in snapshot.placements:
                placement = produit.placements[ligne.clé] = Placement(ligne, rang, réf_lot)
                snapshot.remember_placement(placement)
