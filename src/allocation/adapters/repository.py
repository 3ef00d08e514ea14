"""The repository: products in and out of the write tables, never more of them than a command needs."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any

from psycopg import Connection
from psycopg.pq import TransactionStatus

from allocation.adapters.change_set import ChangeSet, Snapshot
from allocation.adapters.open_lots import FIRST_LOTS, LOT, OpenLots
from allocation.adapters.serialization import as_json
from allocation.domain.events import RuptureDeStock
from allocation.domain.model import CléLigne, LigneDeCommande, Lot, Placement, Produit, Rupture

_LOCK_PRODUITS = """
    SELECT sku, version, dernier_rang, coalesce(dernier_apport, 0) FROM produits
    WHERE sku = ANY(%s) ORDER BY sku FOR NO KEY UPDATE
"""
_NAMED_LOTS = f"{LOT} WHERE référence = ANY(%s)"
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
_KNOWN_RUPTURES = """
    SELECT known.*
    FROM json_populate_recordset(NULL::ruptures, %s) AS asked
    CROSS JOIN LATERAL (
        SELECT sku, id_commande, ligne, quantité, quantité_disponible, version
        FROM ruptures AS r
        WHERE r.sku = asked.sku AND r.id_commande = asked.id_commande AND r.ligne = asked.ligne
        OFFSET 0
    ) AS known
"""
# Where the fewest newest lines on a lot begin that together hold so many units. As every line holds a unit at
# least, no more lines than units need to be looked at.
_RANG_LIMITE = """
    WITH newest AS (
        SELECT l.rang, l.quantité
        FROM allocations AS a JOIN order_lines AS l ON l.sku = a.sku AND l.rang = a.rang
        WHERE a.sku = %(sku)s AND a.réf_lot = %(réf_lot)s
        ORDER BY - a.rang LIMIT %(units)s
    ), counted AS (
        SELECT rang, sum(quantité) OVER (ORDER BY rang DESC) - quantité AS newer_units FROM newest
    )
    SELECT min(rang) FROM counted WHERE newer_units < %(units)s
"""
# Lines are looked up one by one, for the few allocations that the limit leaves: OFFSET 0, as above.
_LINES_FROM = """
    SELECT line.*
    FROM (
        SELECT sku, rang, réf_lot FROM allocations
        WHERE réf_lot = %(réf_lot)s AND sku = %(sku)s AND - rang <= - %(rang)s::bigint
        ORDER BY - rang DESC LIMIT %(limit)s
    ) AS a
    CROSS JOIN LATERAL (
        SELECT sku, id_commande, ligne, quantité, rang, a.réf_lot
        FROM order_lines AS l WHERE l.sku = a.sku AND l.rang = a.rang
        OFFSET 0
    ) AS line
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
        """The product, with what is known of `lignes` and the lots that they may get; None if unknown.

        That is so for each line as long as no other has been allocated since.
        """

    @abstractmethod
    def get_par_réf_lot(self, réf_lot: str) -> Produit | None:
        """The product of this lot, with the lot, whatever is left in it; None if the lot is unknown."""

    @abstractmethod
    def load_surplus(
        self, réf_lot: str, quantité: int, *, depuis_rang: int | None = None, limit: int
    ) -> int | None:
        """Load the lines that must leave a lot, at most `limit`, the oldest; whose product was handed out.

        The seniority from which on they go, as `Produit.rang_limite`, unless it is known (`depuis_rang`);
        None when the lot's lines fit into `quantité` units.
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
        self._open_lots: dict[str, OpenLots] = {}
        # Of these lines nobody has looked yet whether they were refused.
        self._perhaps_refused: defaultdict[str, set[CléLigne]] = defaultdict(set)

    def prepare(self, needs: Sequence[Needs]) -> None:
        self._load(
            {sku for each in needs for sku in each.skus},
            {ligne for each in needs for ligne in each.lignes},
            [réf for each in needs for réf in each.réfs_lots],
        )

    def add(self, produit: Produit) -> None:
        self.seen[produit.sku] = self.known[produit.sku] = produit
        self._snapshots[produit.sku] = Snapshot(version=None)
        self._open_lots[produit.sku] = OpenLots(at_most=0)

    def get(self, sku: str, *lignes: LigneDeCommande) -> Produit | None:
        asked = {(sku, ligne.clé) for ligne in lignes} - self._asked_lines
        if asked or not (sku in self.known or sku in self._absent):
            self._load({sku}, asked, [])
        produit = self.known.get(sku)
        if produit is not None:
            self.seen[sku] = produit
            for ligne in lignes:
                self._load_choice(produit, ligne)
        return produit

    def get_par_réf_lot(self, réf_lot: str) -> Produit | None:
        if réf_lot not in self._skus_of_lots:
            self._load(set(), set(), [réf_lot])
        sku = self._skus_of_lots[réf_lot]
        return None if sku is None else self.get(sku)

    def load_surplus(
        self, réf_lot: str, quantité: int, *, depuis_rang: int | None = None, limit: int
    ) -> int | None:
        sku = self._skus_of_lots[réf_lot]
        lot = None if sku is None else self.known[sku].lot(réf_lot)
        if lot is None or (depuis_rang is None and lot.quantité_allouée <= quantité):
            return None
        # Lines of commands before this one in the same transaction may be among them.
        self.send_changes()
        names = {"sku": sku, "réf_lot": réf_lot, "units": lot.quantité_allouée - quantité, "limit": limit}
        if depuis_rang is None:
            [(depuis_rang,)] = self._connection.execute(_RANG_LIMITE, names)
        self._take_lines(self._connection.execute(_LINES_FROM, {**names, "rang": depuis_rang}))
        return depuis_rang

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
            lots = connection.execute(FIRST_LOTS, [new], prepare=True)
            named = connection.execute(_NAMED_LOTS, [list(réfs_lots)], prepare=True) if réfs_lots else None
            keys = [{"sku": sku, "id_commande": order, "ligne": line} for sku, (order, line) in lignes]
            lines = connection.execute(_KNOWN_LINES, [as_json(keys)], prepare=True) if keys else None
        [(self.transaction_id,)] = transaction
        first = lots.fetchall()
        for sku, version, dernier_rang, dernier_apport in produits:
            self.known[sku] = Produit(
                sku, version=version, dernier_rang=dernier_rang, dernier_apport=dernier_apport
            )
            self._snapshots[sku] = Snapshot(version)
        self._absent.update(sku for sku in new if sku not in self.known)
        self._take_lots(first)
        for sku in new:
            if sku in self.known:
                self._open_lots[sku] = OpenLots.after_first(self.known[sku].lots)
        of_named = list(named or ())
        self._take_lots(of_named)
        self._take_lines(lines or ())
        self._register(lignes)
        # Lots that were not there when their SKUs were asked for, and were when these were locked.
        if created_meanwhile := {sku for _, sku, *_ in of_named} - self.known.keys():
            self._absent -= created_meanwhile
            self._load(created_meanwhile, set(), réfs_lots)

    def _register(self, lignes: Iterable[tuple[str, CléLigne]]) -> None:
        """Note that all that is known of these lines is loaded, but for refusals."""
        for sku, clé in lignes:
            self._asked_lines.add((sku, clé))
            self._perhaps_refused[sku].add(clé)

    def _load_choice(self, produit: Produit, ligne: LigneDeCommande) -> None:
        """Load the lot that the line would get or, if there is none, what it is told."""
        placement = produit.placements.get(ligne.clé)
        if placement is not None and placement.réf_lot is not None:
            return
        open_lots, lot = self._open_lots[produit.sku], produit.lot_pour(ligne)
        while not open_lots.suffice(produit, lot, ligne.quantité):
            self._take_lots(open_lots.more(self._connection, produit, ligne.quantité))
            lot = produit.lot_pour(ligne)
        if lot is None and self._perhaps_refused[produit.sku]:
            self._load_ruptures(produit)

    def _load_ruptures(self, produit: Produit) -> None:
        keys = self._perhaps_refused.pop(produit.sku)
        asked = [{"sku": produit.sku, "id_commande": order, "ligne": line} for order, line in keys]
        rows = self._connection.execute(_KNOWN_RUPTURES, [as_json(asked)], prepare=True)
        for sku, id_commande, ligne, quantité, disponible, version in rows:
            event = RuptureDeStock(id_commande, sku, quantité, disponible, ligne)
            rupture = Rupture(event, version)
            self._snapshots[sku].ruptures[id_commande, ligne] = rupture
            produit.ruptures.setdefault((id_commande, ligne), rupture)

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
                self._register([(sku, ligne.clé)])
