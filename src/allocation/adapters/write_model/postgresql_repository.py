"""Products in PostgreSQL: read from the write tables under locks, and written back, in few round trips."""

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from typing import Any

from allocation.adapters.journal.serialization import as_json
from allocation.adapters.postgresql.database import Locked
from allocation.adapters.postgresql.messages import Messages, Rows, Statement
from allocation.adapters.write_model.change_set import ChangeSet, Snapshot
from allocation.adapters.write_model.line_queries import KNOWN_LINES, KNOWN_RUPTURES, LINES_FROM, RANG_LIMITE
from allocation.adapters.write_model.lost_commits import Trace, leave_trace, trace_of
from allocation.adapters.write_model.lot_references import LotReferences
from allocation.adapters.write_model.open_lots import FIRST_LOTS, LOT, OpenLots
from allocation.adapters.write_model.repository import (
    AbstractRepository,
    CléLot,
    Needs,
    Waiting,
    handed_out,
)
from allocation.domain.events import RuptureDeStock
from allocation.domain.lots import seul_sku
from allocation.domain.model import CléLigne, LigneDeCommande, Lot, Placement, Produit, Rupture

_LOCK_PRODUITS = """
    SELECT sku, version, dernier_rang, coalesce(dernier_apport, 0) FROM produits
    WHERE sku = ANY(%s) ORDER BY sku FOR NO KEY UPDATE
"""
_LOCK_FREE_PRODUITS = f"{_LOCK_PRODUITS} SKIP LOCKED"
_EXISTING = "SELECT sku FROM produits WHERE sku = ANY(%s)"
# Lots are looked up one by one: OFFSET 0 keeps the planner from reading the whole table instead.
_NAMED_LOTS = f"""
    SELECT lot.* FROM unnest(%s::text[], %s::text[]) AS asked (sku, référence)
    CROSS JOIN LATERAL ({LOT} AS l WHERE l.sku = asked.sku AND l.référence = asked.référence OFFSET 0) AS lot
"""  # noqa: S608 - our own text
_LOCK_TIMEOUTS = {
    Waiting.BRIEFLY: "100ms",
    Waiting.LONGER: "1s",
    Waiting.NOT_AT_ALL: "100ms",
    Waiting.PATIENTLY: "3s",
}


class PostgreSQLRepository(AbstractRepository):
    """Products in PostgreSQL, locked from when they are loaded to the end of the transaction.

    `trace` identifies the transaction, once it has begun.
    """

    trace: Trace

    def __init__(self, messages: Messages) -> None:
        super().__init__()
        self._messages = messages
        self._waiting: Waiting | None = None
        self._locked: set[str] = set()
        self._absent: set[str] = set()
        self._snapshots: dict[str, Snapshot] = {}
        self._references = LotReferences(messages)
        self._asked_lots: set[CléLot] = set()
        self._asked_lines: set[tuple[str, CléLigne]] = set()
        self._open_lots: dict[str, OpenLots] = {}
        # Lines that may have been refused before: nobody has looked yet.
        self._perhaps_refused: defaultdict[str, set[CléLigne]] = defaultdict(set)

    def prepare(self, needs: Sequence[Needs], waiting: Waiting) -> None:
        self._waiting = waiting
        self._load(
            {sku for each in needs for sku in each.skus},
            {ligne for each in needs for ligne in each.lignes},
            {lot for each in needs for lot in each.lots},
            {réf for each in needs for réf in each.réfs_lots},
        )

    def add(self, produit: Produit) -> None:
        self.seen[produit.sku] = self.known[produit.sku] = produit
        self._snapshots[produit.sku] = Snapshot(version=None)
        self._open_lots[produit.sku] = OpenLots(at_most=0)

    def get(self, sku: str, *lignes: LigneDeCommande) -> Produit | None:
        asked = {(sku, ligne.clé) for ligne in lignes} - self._asked_lines
        if asked or not (sku in self.known or sku in self._absent):
            self._load({sku}, asked)
        if sku in self._locked:
            raise Locked(f"{sku} is locked by somebody else")
        produit = self.known.get(sku)
        if produit is not None:
            self.seen[sku] = produit
            for ligne in lignes:
                self._load_choice(produit, ligne)
        return produit

    def get_par_réf_lot(self, réf_lot: str, sku: str | None = None) -> Produit | None:
        if sku is None:
            self._references.find({réf_lot})
            # Earlier commands in the same transaction may have added such lots.
            known = {sku for sku, produit in self.known.items() if produit.lot(réf_lot) is not None}
            sku = seul_sku(réf_lot, self._references.skus(réf_lot) | known)
        if sku is None:
            return None
        if (sku, réf_lot) not in self._asked_lots:
            self._load({sku}, lots={(sku, réf_lot)})
        produit = self.get(sku)
        return produit if produit is not None and produit.lot(réf_lot) is not None else None

    def load_surplus(
        self, produit: Produit, réf_lot: str, quantité: int, *, depuis_rang: int | None = None, limit: int
    ) -> int | None:
        lot = handed_out(produit, réf_lot)
        if depuis_rang is None and lot.quantité_allouée <= quantité:
            return None
        units = lot.quantité_allouée - quantité
        names = {"sku": produit.sku, "réf_lot": réf_lot, "units": units, "limit": limit}
        # The tables must have the lines of earlier commands in the same transaction.
        self._ask(*self.changes())
        if depuis_rang is None:
            [(depuis_rang,)] = self._messages.rows(RANG_LIMITE, names)
        self._take_lines(self._messages.rows(LINES_FROM, {**names, "rang": depuis_rang}))
        return depuis_rang

    def begin(self) -> None:
        """Begin the transaction, unless it has begun."""
        if not self._messages.in_transaction:
            self._ask()

    def changes(self) -> Sequence[Statement]:
        """The statements that bring the tables up to date, which they are taken to be from now on.

        They violate a NOT NULL constraint if a product has another version than when it was loaded.
        """
        changes = ChangeSet()
        for sku, snapshot in self._snapshots.items():
            changes.collect(self.known[sku], snapshot)
            snapshot.remember(self.known[sku])
        return tuple(changes.statements())

    def _ask(self, *statements: Statement) -> list[Rows]:
        """The rows of each statement, all sent in one message, which begins the transaction if need be."""
        if self._messages.in_transaction:
            return self._messages.send(*statements) if statements else []
        lock, trace = leave_trace()
        opening: list[Statement] = [("BEGIN", ()), trace]
        if self._waiting is not None:
            opening.insert(1, (f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUTS[self._waiting]}'", ()))
        rows = self._messages.send(*opening, *statements)
        self.trace = trace_of(lock, rows[len(opening) - 1])
        return rows[len(opening) :]

    def _load(
        self,
        skus: Set[str],
        lignes: Set[tuple[str, CléLigne]] = frozenset(),
        lots: Set[CléLot] = frozenset(),
        réfs_lots: Set[str] = frozenset(),
    ) -> None:
        """Lock these products, and load what is not loaded of them yet, in one round trip.

        Finding the products of references takes another one; ambiguous references are left out.
        """
        self._references.find(réfs_lots)
        found = ((réf, self._references.skus(réf)) for réf in réfs_lots)
        lots = lots | {(sku, réf) for réf, of in found if len(of) == 1 for sku in of}
        self._asked_lots |= lots
        skus = skus | {sku for sku, _ in lots}
        new = sorted(skus - self.known.keys() - self._absent - self._locked)
        keys = [{"sku": sku, "id_commande": order, "ligne": line} for sku, (order, line) in lignes]
        only_free = self._waiting is Waiting.NOT_AT_ALL
        produits, first, named, lines, *others = self._ask(
            (_LOCK_FREE_PRODUITS if only_free else _LOCK_PRODUITS, (new,)),
            (FIRST_LOTS, (new,)),
            (_NAMED_LOTS, ([sku for sku, _ in lots], [réf for _, réf in lots])),
            (KNOWN_LINES, (as_json(keys),)),
            *([(_EXISTING, (new,))] if only_free else []),
            *self._references.questions(réfs_lots),
        )
        for sku, version, dernier_rang, dernier_apport in produits:
            self.known[sku] = Produit(
                sku, version=version, dernier_rang=dernier_rang, dernier_apport=dernier_apport
            )
            self._snapshots[sku] = Snapshot(version)
        if only_free:
            self._locked.update(sku for (sku,) in others.pop(0) if sku not in self.known)
        self._absent.update(set(new) - self.known.keys() - self._locked)
        self._take_lots(first)
        for sku in new:
            if sku in self.known:
                self._open_lots[sku] = OpenLots.after_first(self.known[sku].lots)
        self._take_lots(named)
        self._take_lines(lines)
        self._register(lignes)
        self._load_received_meanwhile(named, self._references.note(réfs_lots, others))

    def _load_received_meanwhile(self, named: Rows, réfs_lots: Set[str]) -> None:
        """Load lots that were received just before the lock: for products unknown then, or by reference."""
        lots = {(sku, réf) for réf, sku, *_ in named if sku not in self.known.keys() | self._locked}
        if lots or réfs_lots:
            self._absent -= {sku for sku, _ in lots}
            self._load(set(), lots=lots, réfs_lots=réfs_lots)

    def _register(self, lignes: Iterable[tuple[str, CléLigne]]) -> None:
        """Note that everything known of these lines is loaded, except refusals."""
        for sku, clé in lignes:
            self._asked_lines.add((sku, clé))
            self._perhaps_refused[sku].add(clé)

    def _load_choice(self, produit: Produit, ligne: LigneDeCommande) -> None:
        """Load the lot that the line would get or, if there is none, what its refusal must say."""
        placement = produit.placements.get(ligne.clé)
        if placement is not None and placement.réf_lot is not None:
            return
        open_lots, lot = self._open_lots[produit.sku], produit.lot_pour(ligne)
        while not open_lots.suffice(produit, lot, ligne.quantité):
            self._take_lots(open_lots.more(self._messages, produit, ligne.quantité))
            lot = produit.lot_pour(ligne)
        if lot is None and self._perhaps_refused[produit.sku]:
            self._load_ruptures(produit)

    def _load_ruptures(self, produit: Produit) -> None:
        keys = self._perhaps_refused.pop(produit.sku)
        asked = [{"sku": produit.sku, "id_commande": order, "ligne": line} for order, line in keys]
        rows = self._messages.rows(KNOWN_RUPTURES, (as_json(asked),))
        for sku, id_commande, ligne, quantité, disponible, version in rows:
            event = RuptureDeStock(id_commande, sku, quantité, disponible, ligne)
            rupture = Rupture(event, version)
            self._snapshots[sku].ruptures[id_commande, ligne] = rupture
            produit.ruptures.setdefault((id_commande, ligne), rupture)

    def _take_lots(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for référence, sku, *rest in rows:
            if sku not in self.known:
                # Committed after its product was looked for, which therefore is not locked.
                continue
            produit, snapshot = self.known[sku], self._snapshots[sku]
            if référence not in snapshot.lots:
                lot = Lot(référence, sku, *rest)
                produit.lots.append(lot)
                snapshot.remember_lot(lot)

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
