"""The read side of HTTP: a view's SELECT becomes an answer; no command, no domain."""

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

from flask import Response, jsonify

from allocation.adapters.database import StorageUnavailable
from allocation.entrypoints.http_errors import Introuvable
from allocation.entrypoints.http_history import DemandeInstant, wanted_instant
from allocation.entrypoints.http_route import Route, read_query
from allocation.entrypoints.http_schemas import AllocationVue, DemandePage, LotVue, PageDeStock, StockVue
from allocation.views import history, views
from allocation.views.history import HistoireArchivée

REFUSALS = (StorageUnavailable,)


class HttpViews:
    """What may be asked without changing anything."""

    def __init__(self, source: views.ReadSource) -> None:
        self._source = source

    def routes(self) -> Sequence[Route]:
        """The methods below, and what is promised about them."""
        return (
            Route(
                "GET",
                "/allocations/<identifier:id_commande>",
                self.allocations,
                answers={200: list[AllocationVue]},
                query=DemandeInstant,
                refusals=(*REFUSALS, HistoireArchivée),
            ),
            Route("GET", "/lots/<identifier:ref>", self.lot, answers={200: LotVue}, refusals=REFUSALS),
            Route(
                "GET",
                "/stock/<identifier:sku>",
                self.stock,
                answers={200: StockVue},
                query=DemandeInstant,
                refusals=(*REFUSALS, HistoireArchivée),
            ),
            Route(
                "GET",
                "/stock",
                self.stock_page,
                answers={200: PageDeStock},
                query=DemandePage,
                refusals=REFUSALS,
            ),
        )

    def allocations(self, id_commande: str) -> Response:
        """The lots that serve an order, line by line."""
        if (at := wanted_instant()) is not None:
            return self._allocations_at(id_commande, at)
        lines = views.allocations_json(id_commande, self._source)
        if lines is None:
            raise Introuvable(f"Aucune ligne n'est allouée pour la commande {id_commande}")
        return Response(lines + b"\n", mimetype="application/json")

    def lot(self, ref: str) -> Response:
        """What a lot holds, and how much of it is taken."""
        row = views.lot(ref, self._source)
        if row is None:
            raise Introuvable(f"Lot inconnu : {ref}")
        return jsonify(row)

    def stock(self, sku: str) -> Response:
        """What there is of a SKU, what is coming, what is taken, what is left."""
        at = wanted_instant()
        row = views.stock(sku, self._source) if at is None else history.stock_at(sku, at, self._source)
        if row is None:
            raise Introuvable(f"SKU inconnu : {sku}")
        return jsonify(row)

    def stock_page(self) -> Response:
        """The stock of all SKUs, page by page."""
        demande = read_query(DemandePage)
        rows = views.stock_page(demande.after, demande.limit, self._source)
        suivant = None
        if len(rows) == demande.limit:
            suivant = "/stock?" + urlencode({"after": rows[-1]["sku"], "limit": demande.limit})
        return jsonify({"stock": rows, "suivant": suivant})

    def _allocations_at(self, id_commande: str, at: datetime) -> Response:
        lines = history.allocations_at(id_commande, at, self._source)
        if not lines:
            raise Introuvable(f"Aucune ligne n'était allouée pour la commande {id_commande}")
        return jsonify(lines)
