"""The read side of HTTP: the result of a view becomes an answer, without commands or the domain model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from urllib.parse import urlencode

from pydantic_core import from_json

from allocation.adapters.postgresql.database import StorageUnavailable
from allocation.adapters.postgresql.read_servers import ReadServers
from allocation.domain.errors import RéférenceAmbiguë
from allocation.entrypoints.http import freshness
from allocation.entrypoints.http.freshness import (
    announced,
    wanted_freshness,
)
from allocation.entrypoints.http.history import DemandeInstant, unknown_sku, wanted_instant
from allocation.entrypoints.http.identifiers import spellings, spellings_of_lot
from allocation.entrypoints.http.messages import Request, Response, json_response
from allocation.entrypoints.http.refusals import Introuvable
from allocation.entrypoints.http.route import Route, read_body, read_query
from allocation.entrypoints.http.schemas.allocations import AllocationVue
from allocation.entrypoints.http.schemas.freshness import DemandeDeLecture
from allocation.entrypoints.http.schemas.lots import DemandeSku, LotVue
from allocation.entrypoints.http.schemas.stock import (
    DemandeDisponibilites,
    DemandePage,
    Disponibilites,
    PageDeStock,
    StockVue,
)
from allocation.entrypoints.http.words import Words
from allocation.views import history, views
from allocation.views.instants import InstantFutur, JournalEnAvance
from allocation.views.past_view import HistoireArchivée
from allocation.views.view import View


class HttpViews:
    """The routes that read views, from servers whose methods suspend or block their caller."""

    def __init__(self, reads: ReadServers) -> None:
        self._reads = reads

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
            replace(
                reading("/disponibilités", self.availability, answers={200: Disponibilites}),
                method="POST",
                body=DemandeDisponibilites,
            ),
        )

    async def allocations(self, request: Request, id_commande: str) -> Response:
        """The lots that serve an order, line by line."""
        if (at := wanted_instant(request)) is not None:
            return await self._allocations_at(request, id_commande, at)
        for spelling in spellings("id_commande", id_commande):
            lines = await self._document(request, views.ALLOCATIONS, {"id_commande": spelling})
            if lines is not None:
                return Response(lines)
        raise Introuvable(
            Words(
                f"Aucune ligne n'est allouée pour la commande {id_commande}",
                f"No line is allocated for order {id_commande}",
            )
        )

    async def lot(self, request: Request, ref: str) -> Response:
        """How much a lot holds, and how much of it is allocated."""
        for réf, sku in spellings_of_lot(ref, read_query(request, DemandeSku).sku):
            rows = from_json(await self._document(request, *views.lots(réf, sku)) or b"[]")
            if (row := views.the_lot(réf, rows)) is not None:
                return json_response(row)
        raise Introuvable(Words(f"Lot inconnu : {ref}", f"Unknown lot: {ref}"))

    async def stock(self, request: Request, sku: str) -> Response:
        """The stock of a SKU: in the warehouse, on its way, allocated, available."""
        if (at := wanted_instant(request)) is not None:
            return await self._stock_at(request, sku, at)
        for spelling in spellings("sku", sku):
            stock = await self._document(request, views.STOCK, {"sku": spelling})
            if stock is not None:
                return Response(stock)
        raise unknown_sku(sku)

    async def stock_page(self, request: Request) -> Response:
        """The stock of all SKUs, page by page."""
        demande = read_query(request, DemandePage)
        rows = from_json(await self._document(request, views.STOCK_PAGE, demande.model_dump()) or b"[]")
        suivant = None
        if len(rows) == demande.limit:
            suivant = "/stock?" + urlencode({"after": rows[-1]["sku"], "limit": demande.limit})
        return json_response({"stock": rows, "suivant": suivant})

    async def availability(self, request: Request) -> Response:
        """What can be sold of up to a hundred SKUs: in all, from stock, and by day of arrival."""
        demande = await read_body(request, DemandeDisponibilites)
        skus = list(dict.fromkeys(demande.skus))
        found = await self._document(request, views.DISPONIBILITÉS, {"skus": skus})
        if found is None:
            # No projection is registered yet.
            return json_response({"disponibilités": [], "inconnus": skus})
        return Response(found)

    async def _document(self, request: Request, view: View, parameters: Mapping[str, object]) -> bytes | None:
        """What the view says, as a JSON document; None if it has nothing."""
        document = announced(request, await view.document(parameters, self._reads, wanted_freshness(request)))
        return None if document is None else document + b"\n"

    async def _allocations_at(self, request: Request, id_commande: str, at: datetime) -> Response:
        for spelling in spellings("id_commande", id_commande):
            lines = await history.ALLOCATIONS_AT.rows(
                {"id_commande": spelling}, at, self._reads, wanted_freshness(request)
            )
            if announced(request, lines):
                return json_response(lines.value)
        raise Introuvable(
            Words(
                f"Aucune ligne n'était allouée pour la commande {id_commande}",
                f"No line was allocated for order {id_commande}",
            )
        )

    async def _stock_at(self, request: Request, sku: str, at: datetime) -> Response:
        for spelling in spellings("sku", sku):
            row = await history.STOCK_AT.row({"sku": spelling}, at, self._reads, wanted_freshness(request))
            if announced(request, row) is not None:
                return json_response(row.value)
        raise unknown_sku(sku)
