"""The aggregate: a product with its lots, and the order lines that are tied to them.

`Produit` is what one transaction changes: all rules hold within it, and its version shows whether another
writer has changed it meanwhile. Its methods check first and change last: after a refusal (an exception),
nothing has changed. What allocating a line would do is a plan, which is made first and applied afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from allocation.domain.errors import LotExistant, LotInconnu, ValeurInvalide
from allocation.domain.events import (
    Alloué,
    Désalloué,
    Event,
    LotCréé,
    QuantitéLotModifiée,
    RuptureDeStock,
)
from allocation.domain.lignes import CléLigne, LigneDeCommande, Placement, Rupture
from allocation.domain.lots import Lot, Politique, entrepôt_d_abord, premier_qui_peut
from allocation.domain.plans import Affectation, Plan, Raison
from allocation.domain.values import QUANTITÉ_LOT_MIN, vérifier_quantité

__all__ = [
    "Affectation",
    "CléLigne",
    "LigneDeCommande",
    "Lot",
    "Placement",
    "Plan",
    "Politique",
    "Produit",
    "Raison",
    "Rupture",
    "entrepôt_d_abord",
]


@dataclass(eq=False)
class Produit:
    """Everything that the allocations of one SKU depend on.

    A repository may load only a part. `lots` must then contain the lot that the next line gets or, if none
    can take that line, the roomiest one; `placements` and `ruptures` must contain what is known of each line
    that the next call is about.

    `dernier_rang` is the seniority of the newest line. `dernier_apport` is the version with which a lot last
    had more units to give than before.
    """

    sku: str
    lots: list[Lot] = field(default_factory=list)
    version: int = 0
    dernier_rang: int = 0
    dernier_apport: int = 0
    placements: dict[CléLigne, Placement] = field(default_factory=dict)
    ruptures: dict[CléLigne, Rupture] = field(default_factory=dict)
    politique: Politique = entrepôt_d_abord
    events: list[Event] = field(default_factory=list)
    _dans_l_ordre: list[Lot] = field(default_factory=list, init=False, repr=False)
    _ordonnés_par: Politique | None = field(default=None, init=False, repr=False)
    _par_référence: dict[str, Lot] = field(default_factory=dict, init=False, repr=False)

    @property
    def quantité_disponible(self) -> int:
        """Units that the roomiest lot has left."""
        return max((lot.quantité_disponible for lot in self.lots), default=0)

    def lot(self, réf_lot: str) -> Lot | None:
        """The product's lot of this reference, or None."""
        if len(self._par_référence) != len(self.lots):
            self._par_référence.update((lot.référence, lot) for lot in self.lots[len(self._par_référence) :])
        return self._par_référence.get(réf_lot)

    def lot_pour(self, ligne: LigneDeCommande) -> Lot | None:
        """The lot that a line without one would get: by the policy, the first that can take it whole."""
        return premier_qui_peut(self._lots_dans_l_ordre(), ligne)

    def ajouter_lot(self, lot: Lot) -> None:
        """Add a lot; adding it again changes nothing. Raises LotExistant or ValeurInvalide; emits LotCréé."""
        connu = self.lot(lot.référence)
        if connu is not None:
            if not connu.créé_comme(lot):
                raise LotExistant(lot.référence, connu.sku)
            return
        if lot.sku != self.sku:
            raise ValeurInvalide("sku", "{attendu} est attendu, non {reçu}", attendu=self.sku, reçu=lot.sku)
        self.lots.append(lot)
        self.version += 1
        lot.rang = self.version
        self.dernier_apport = self.version
        self.events.append(LotCréé(lot.référence, lot.sku, lot.quantité, lot.eta))

    def allouer(self, ligne: LigneDeCommande) -> str | None:
        """Tie the line to a lot; return the lot's reference, or None if no lot can take the whole line.

        The same line again changes nothing and gets the same lot. Raises LigneModifiée; emits what
        `appliquer` emits.
        """
        plan = self.planifier(ligne)
        self.appliquer(plan)
        return plan.réf_lot

    def planifier(self, ligne: LigneDeCommande) -> Plan:
        """What allocating the line would do: keep its lot or, if it has none, give it that of `lot_pour`.

        Nothing changes. Raises LigneModifiée if the line is known with another quantity.
        """
        connue = self.placements.get(ligne.clé)
        if connue is not None:
            connue.vérifier(ligne)
            if connue.réf_lot is not None:
                acquise = Affectation(connue.réf_lot, ligne.quantité)
                return Plan(ligne, self.version, affectations=(acquise,), acquis=True)
        candidats = self._lots_dans_l_ordre()
        lot = premier_qui_peut(candidats, ligne)
        if lot is None:
            return self._plan_de_rupture(ligne, candidats)
        return Plan(ligne, self.version, candidats, (Affectation(lot.référence, ligne.quantité),))

    def appliquer(self, plan: Plan) -> None:
        """Do what was planned. Raises ValueError if the product has changed since the plan was made.

        Emits Alloué or RuptureDeStock. The latter is not emitted again for the same line until a lot has more
        to give, or the line asks for another quantity.
        """
        if plan.version != self.version:
            raise ValueError(
                f"{self.sku} has changed since its version {plan.version}, which was planned for"
            )
        if plan.acquis:
            return
        if not plan.affectations:
            self._constater_rupture(plan)
        for affectation in plan.affectations:
            self._placer(plan.ligne, affectation)

    def modifier_quantité_lot(
        self, réf_lot: str, quantité: int, *, depuis_rang: int | None = None, au_plus: int | None = None
    ) -> list[LigneDeCommande]:
        """Set the lot's quantity; return the lines taken off it so that the others fit, oldest first.

        The newest lines go, by the order in which the product first saw them: those whose seniority is
        `rang_limite` or later (`depuis_rang`, if that was found before). If `au_plus` is given, at most that
        many of them go at once, the oldest first. The lot gets its quantity when the last of them go; until
        then it holds what is allocated of it, so that it has nothing to give.

        Raises LotInconnu. Emits Désalloué for each line, then QuantitéLotModifiée: in this order, no position
        of the journal has more allocated of a lot than it holds.
        """
        vérifier_quantité("quantité", quantité, au_moins=QUANTITÉ_LOT_MIN)
        lot = self._lot_connu(réf_lot)
        if quantité == lot.quantité:
            return []
        partants = self._partants(lot, quantité, depuis_rang)
        retirés = partants[:au_plus]
        disponible = lot.quantité_disponible
        for placement in retirés:
            self._retirer(placement, lot)
        if len(partants) > len(retirés) or lot.quantité_allouée > quantité:
            quantité = max(quantité + 1, lot.quantité_allouée)
        self._fixer_quantité(lot, quantité)
        if lot.quantité_disponible > disponible:
            self.dernier_apport = self.version
        return [placement.ligne for placement in retirés]

    def rang_limite(self, lot: Lot, quantité: int) -> int | None:
        """The seniority from which on the lot's lines must go so that the others fit; None if all fit.

        As few lines as possible go, the newest ones. Raises LookupError if these are not all loaded.
        """
        excédent, rang = lot.quantité_allouée - quantité, None
        for placement in reversed(self._depuis(lot, 0)):
            if excédent <= 0:
                break
            excédent, rang = excédent - placement.ligne.quantité, placement.rang
        if excédent > 0:
            raise LookupError(f"the newest lines of lot {lot.référence} were not loaded")
        return rang

    def _lot_connu(self, réf_lot: str) -> Lot:
        lot = self.lot(réf_lot)
        if lot is None:
            raise LotInconnu(réf_lot)
        return lot

    def _lots_dans_l_ordre(self) -> Sequence[Lot]:
        if len(self._dans_l_ordre) != len(self.lots) or self._ordonnés_par is not self.politique:
            self._dans_l_ordre, self._ordonnés_par = list(self.politique(self.lots)), self.politique
        return self._dans_l_ordre

    def _plan_de_rupture(self, ligne: LigneDeCommande, candidats: Sequence[Lot]) -> Plan:
        """A plan without a lot. Its figure is that of the last refusal, unless a lot has gained since."""
        connue = self.ruptures.get(ligne.clé)
        if connue is not None and connue.vaut_pour(ligne, self.dernier_apport):
            disponible, acquis = connue.event.quantité_disponible, True
        else:
            disponible, acquis = self.quantité_disponible, False
        return Plan(ligne, self.version, candidats, quantité_disponible=disponible, acquis=acquis)

    def _constater_rupture(self, plan: Plan) -> None:
        ligne = plan.ligne
        event = RuptureDeStock(
            ligne.id_commande, ligne.sku, ligne.quantité, plan.quantité_disponible, ligne.ligne
        )
        self.ruptures[ligne.clé] = Rupture(event, self.version)
        self.events.append(event)

    def _placer(self, ligne: LigneDeCommande, affectation: Affectation) -> None:
        lot = self._lot_connu(affectation.réf_lot)
        placement = self.placements.get(ligne.clé)
        if placement is None:
            self.dernier_rang += 1
            placement = self.placements[ligne.clé] = Placement(ligne, self.dernier_rang)
        placement.réf_lot = lot.référence
        lot.quantité_allouée += affectation.quantité
        self.version += 1
        self.events.append(
            Alloué(ligne.id_commande, ligne.sku, affectation.quantité, lot.référence, ligne.ligne)
        )

    def _depuis(self, lot: Lot, rang: int) -> list[Placement]:
        """The lines on the lot that have this seniority or a later one, oldest first."""
        du_lot = (p for p in self.placements.values() if p.réf_lot == lot.référence and p.rang >= rang)
        return sorted(du_lot, key=lambda placement: placement.rang)

    def _partants(self, lot: Lot, quantité: int, depuis_rang: int | None) -> list[Placement]:
        """The lines that must leave the lot, oldest first."""
        if depuis_rang is None:
            depuis_rang = self.rang_limite(lot, quantité)
        if depuis_rang is None or quantité > lot.quantité:
            return []
        return self._depuis(lot, depuis_rang)

    def _retirer(self, placement: Placement, lot: Lot) -> None:
        ligne = placement.ligne
        placement.réf_lot = None
        lot.quantité_allouée -= ligne.quantité
        self.events.append(
            Désalloué(ligne.id_commande, ligne.sku, ligne.quantité, lot.référence, ligne.ligne)
        )

    def _fixer_quantité(self, lot: Lot, quantité: int) -> None:
        if quantité != lot.quantité:
            self.events.append(QuantitéLotModifiée(lot.référence, self.sku, quantité, lot.quantité, lot.eta))
        lot.quantité = quantité
        self.version += 1
