"""What holds after any sequence of calls, found by trying very many."""

from collections import Counter
from copy import deepcopy
from datetime import date

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from allocation.domain.errors import LigneModifiée, LotExistant
from allocation.domain.events import Alloué, Désalloué, Event, LotCréé, QuantitéLotModifiée
from allocation.domain.model import LigneDeCommande, Lot, Produit

références = st.sampled_from(["lot-1", "lot-2", "lot-3"])
petites = st.integers(1, 12)
comptées = st.integers(0, 12)
arrivées = st.sampled_from([None, date(2027, 1, 1), date(2027, 2, 1)])


class VieDUnProduit(RuleBasedStateMachine):
    """A product lives through any commands; its journal is folded into a second picture of it."""

    @initialize()
    def naître(self) -> None:
        self.produit = Produit("LAMPE")
        self.lots: dict[str, int] = {}
        self.places: dict[tuple[str, str], tuple[str, int]] = {}
        self.replis = 0
        # What each line was last refused, as long as no lot has had more to give since.
        self.refusées: dict[tuple[str, str], int] = {}
        self.libres: dict[str, int] = {}

    @rule(référence=références, quantité=petites, eta=arrivées)
    def recevoir(self, référence: str, quantité: int, eta: date | None) -> None:
        try:
            self.produit.ajouter_lot(Lot(référence, "LAMPE", quantité, eta))
        except LotExistant:
            assert référence in self.lots

    @rule(commande=st.integers(1, 8), numéro=st.sampled_from("12"), quantité=petites)
    def allouer(self, commande: int, numéro: str, quantité: int) -> None:
        ligne = LigneDeCommande(f"c-{commande}", "LAMPE", quantité, numéro)
        connue = self.places.get(ligne.clé)
        ancienne = self.produit.placements.get(ligne.clé)
        # They stand in the order of their receipt, of which the first is the least.
        suffisants = (lot for lot in self.produit.lots if lot.quantité_disponible >= quantité)
        attendu = min(suffisants, key=lambda lot: (lot.eta is not None, lot.eta or date.min), default=None)
        déjà_dite = self.refusées.get(ligne.clé) == quantité
        événements, avant = len(self.produit.events), _état(self.produit)
        try:
            plan = self.produit.planifier(ligne)
            assert _état(self.produit) == avant
            réf_lot = self.produit.allouer(ligne)
        except LigneModifiée:
            assert ancienne is not None
            assert ancienne.ligne.quantité != quantité
            return
        if connue is not None:
            assert réf_lot == connue[0]
        else:
            assert réf_lot == (attendu and attendu.référence)
        assert (plan.réf_lot, plan.manque) == (réf_lot, 0 if réf_lot else quantité)
        assert plan.acquis == (len(self.produit.events) == événements)
        if réf_lot is None:
            assert (len(self.produit.events) == événements) == déjà_dite
            self.refusées[ligne.clé] = quantité

    @rule(référence=références, quantité=comptées)
    def corriger(self, référence: str, quantité: int) -> None:
        if référence in self.lots:
            for ligne in self.produit.modifier_quantité_lot(référence, quantité):
                assert self.produit.placements[ligne.clé].réf_lot is None

    @rule(référence=références, quantité=comptées, au_plus=st.integers(1, 3))
    def corriger_par_étapes(self, référence: str, quantité: int, au_plus: int) -> None:
        if référence not in self.lots:
            return
        [lot] = [lot for lot in self.produit.lots if lot.référence == référence]
        d_un_coup = deepcopy(self.produit).modifier_quantité_lot(référence, quantité)
        rang = self.produit.rang_limite(lot, quantité)
        retirées = []
        while lot.quantité != quantité:
            retirées += self.produit.modifier_quantité_lot(
                référence, quantité, depuis_rang=rang, au_plus=au_plus
            )
            self.un_apport_fait_oublier_les_refus()
        assert retirées == d_un_coup

    @invariant()
    def le_journal_raconte_tout(self) -> None:
        for event in self.produit.events[self.replis :]:
            self._replier(event)
            self._rien_n_est_survendu()
        self.replis = len(self.produit.events)
        assert self.lots == {lot.référence: lot.quantité for lot in self.produit.lots}
        assert self.places == {
            clé: (placement.réf_lot, placement.ligne.quantité)
            for clé, placement in self.produit.placements.items()
            if placement.réf_lot is not None
        }

    @invariant()
    def un_apport_fait_oublier_les_refus(self) -> None:
        libres = {lot.référence: lot.quantité_disponible for lot in self.produit.lots}
        if any(unités > self.libres.get(référence, 0) for référence, unités in libres.items()):
            self.refusées.clear()
        self.libres = libres

    @invariant()
    def les_compteurs_disent_vrai(self) -> None:
        allouées = self._allouées()
        for lot in self.produit.lots:
            assert lot.quantité_allouée == allouées[lot.référence] <= lot.quantité

    def _replier(self, event: Event) -> None:
        match event:
            case LotCréé() | QuantitéLotModifiée():
                self.lots[event.réf_lot] = event.quantité
            case Alloué():
                self.places[event.id_commande, event.ligne] = (event.réf_lot, event.quantité)
            case Désalloué():
                del self.places[event.id_commande, event.ligne]

    def _rien_n_est_survendu(self) -> None:
        allouées = self._allouées()
        assert all(allouées[référence] <= quantité for référence, quantité in self.lots.items())

    def _allouées(self) -> Counter[str]:
        allouées: Counter[str] = Counter()
        for réf_lot, quantité in self.places.values():
            allouées[réf_lot] += quantité
        return allouées


def _état(produit: Produit) -> object:
    lots = [(lot.référence, lot.quantité, lot.quantité_allouée) for lot in produit.lots]
    return deepcopy((produit.version, lots, produit.placements, produit.ruptures, produit.events))


TestVieDUnProduit = VieDUnProduit.TestCase
TestVieDUnProduit.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
