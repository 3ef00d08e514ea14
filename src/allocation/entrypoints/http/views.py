"""The read side of HTTP: the result of a view becomes an answer, without commands or the domain model."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from urllib.parse import urlencode

from flask import Response, jsonify

from allocation.adapters.postgresql.database import StorageUnavailable
from allocation.domain.errors import RéférenceAmbiguë
from allocation.entrypoints.http import freshness
from allocation.entrypoints.http.freshness import (
    announce_freshness,
    announced,
    freshness_headers,
    wanted_freshness,
)
from allocation.entrypoints.http.history import DemandeInstant, unknown_sku, wanted_instant
from allocation.entrypoints.http.identifiers import spellings, spellings_of_lot
from allocation.entrypoints.http.refusals import Introuvable
from allocation.entrypoints.http.route import Route, read_query
from allocation.entrypoints.http.schemas.allocations import AllocationVue
from allocation.entrypoints.http.schemas.freshness import DemandeDeLecture
from allocation.entrypoints.http.schemas.lots import DemandeSku, LotVue
from allocation.entrypoints.http.schemas.stock import DemandePage, PageDeStock, StockVue
from allocation.entrypoints.http.words import Words
from allocation.views import history, views
from allocation.views.instants import InstantFutur, JournalEnAvance
from allocation.views.past_view import HistoireArchivée


class HttpViews:
    """The routes that read views."""

    def __init__(self, source: views.ReadSource) -> None:
        self._source = source

    def routes(self) -> Sequence[Route]:
        """The methods below, and what is promised about them."""
        refusals = (StorageUnavailable, *freshness.REFUSALS)
        reading = partial(
            Route,
            "GET",
            headers=DemandeDeLecture,
            refusals=refusals,
            answer_headers=freshness.ANSWER_HEADERS,
        )
        of_instants = (HistoireArchivée, InstantFutur, JournalEnAvance)
        reading_at = partial(reading, query=DemandeInstant, refusals=(*refusals, *of_instants))
        return (
            reading_at(
                "/allocations/<identifier:id_commande>", self.allocations, answers={200: list[AllocationVue]}
            ),
            reading(
                "/lots/<identifier:ref>",
                self.lot,
                answers={200: LotVue},
                query=DemandeSku,
                refusals=(RéférenceAmbiguë, *refusals),
            ),
            reading_at("/stock/<identifier:sku>", self.stock, answers={200: StockVue}),
            reading("/stock", self.stock_page, answers={200: PageDeStock}, query=DemandePage),
        )

    def allocations(self, id_commande: str) -> Response:
        """The lots that serve an order, line by line."""
        if (at := wanted_instant()) is not None:
            return self._allocations_at(id_commande, at)
        for spelling in spellings("id_commande", id_commande):
            answer = views.ALLOCATIONS.document(spelling, self._source.reads, wanted_freshness())
            if answer.value is not None:
                # The most frequent request sets its headers directly.
                lines, headers = answer.value + b"\n", freshness_headers(answer)
                return Response(lines, mimetype="application/json", headers=headers)
            announce_freshness(answer)
        raise Introuvable(
            Words(
                f"Aucune ligne n'est allouée pour la commande {id_commande}",
                f"No line is allocated for order {id_commande}",
            )
        )

    def lot(self, ref: str) -> Response:
        """How much a lot holds, and how much of it is allocated."""
        for réf, sku in spellings_of_lot(ref, read_query(DemandeSku).sku):
            found = announced(views.lots(réf, sku, self._source.reads, wanted_freshness()))
            if (row := views.the_lot(réf, found)) is not None:
                return jsonify(row)
        raise Introuvable(Words(f"Lot inconnu : {ref}", f"Unknown lot: {ref}"))

    def stock(self, sku: str) -> Response:
        """The stock of a SKU: in the warehouse, on its way, allocated, available."""
        if (at := wanted_instant()) is not None:
            return self._stock_at(sku, at)
        for spelling in spellings("sku", sku):
            row = announced(views.STOCK.row({"sku": spelling}, self._source.reads, wanted_freshness()))
            if row is not None:
                return jsonify(row)
        raise unknown_sku(sku)

    def stock_page(self) -> Response:
        """The stock of all SKUs, page by page."""
        demande = read_query(DemandePage)
        rows = announced(views.STOCK_PAGE.rows(demande.model_dump(), self._source.reads, wanted_freshness()))
        suivant = None
        if len(rows) == demande.limit:
            suivant = "/stock?" + urlencode({"after": rows[-1]["sku"], "limit": demande.limit})
        return jsonify({"stock": rows, "suivant": suivant})

    def _allocations_at(self, id_commande: str, at: datetime) -> Response:
        for spelling in spellings("id_commande", id_commande):
            parameters, reads = {"id_commande": spelling}, self._source.reads
            if lines := announced(history.ALLOCATIONS_AT.rows(parameters, at, reads, wanted_freshness())):
                return jsonify(lines)
        raise Introuvable(
            Words(
                f"Aucune ligne n'était allouée pour la commande {id_commande}",
                f"No line was allocated for order {id_commande}",
            )
        )

    def _stock_at(self, sku: str, at: datetime) -> Response:
        for spelling in spellings("sku", sku):
            parameters, reads = {"sku": spelling}, self._source.reads
            row = announced(history.STOCK_AT.row(parameters, at, reads, wanted_freshness()))
            if row is not None:
                return jsonify(row)
        raise unknown_sku(sku)
