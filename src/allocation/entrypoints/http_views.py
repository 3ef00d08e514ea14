"""The read side of HTTP: a view's SELECT becomes an answer; no command, no domain."""

from collections.abc import Sequence
from urllib.parse import urlencode

from flask import Response, jsonify

from allocation.adapters.database import StorageUnavailable
from allocation.entrypoints.http_errors import Introuvable
from allocation.entrypoints.http_route import Route, read_query
from allocation.entrypoints.http_schemas import AllocationVue, DemandePage, LotVue, PageDeStock, StockVue
from allocation.views import views

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
                refusals=REFUSALS,
            ),
            Route("GET", "/lots/<identifier:ref>", self.lot, answers={200: LotVue}, refusals=REFUSALS),
            Route("GET", "/stock/<identifier:sku>", self.stock, answers={200: StockVue}, refusals=REFUSALS),
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
        row = views.stock(sku, self._source)
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
