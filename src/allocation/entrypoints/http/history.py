"""Histories over HTTP: the events of a SKU or an order, page by page; and instants in the past.

`/histoire` as the last part of a path always means the history. For an identifier that itself ends like this,
the history is at `…/histoire/histoire`.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote, urlencode
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from allocation.adapters.journal.tokens import POSITION_MAX
from allocation.adapters.postgresql.database import StorageUnavailable
from allocation.adapters.postgresql.read_servers import ReadServers
from allocation.domain.events import Alloué
from allocation.entrypoints.http import freshness
from allocation.entrypoints.http.freshness import announced, wanted_freshness
from allocation.entrypoints.http.identifiers import spellings
from allocation.entrypoints.http.messages import Request, Response, json_response
from allocation.entrypoints.http.refusals import Introuvable
from allocation.entrypoints.http.route import Route, read_query
from allocation.entrypoints.http.schemas.fields import digits
from allocation.entrypoints.http.schemas.freshness import DemandeDeLecture
from allocation.entrypoints.http.schemas.stock import DEFAULT_PAGE, MAX_PAGE
from allocation.entrypoints.http.words import Words
from allocation.views import history
from allocation.views.history import History, HistoryOf
from allocation.views.staleness import JetonInconnu

# In a query, a plus sign that is not percent-encoded stands for a space.
_LOST_PLUS = re.compile(r" (\d{2}:\d{2})$")


def _instant(text: str) -> datetime:
    try:
        instant = datetime.fromisoformat(_LOST_PLUS.sub(r"+\1", text).upper())
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise PydanticCustomError(
            "instant", "un instant avec son décalage est attendu, comme 2027-01-31T10:00:00+01:00"
        )
    return instant


class DemandeInstant(BaseModel):
    """The instant that a read asks about."""

    at: Annotated[
        datetime | None,
        BeforeValidator(_instant),
        WithJsonSchema({"type": "string", "format": "date-time"}),
    ] = Field(default_factory=lambda: None, description="the state at this instant, in place of the present")


class DemandeHistoire(BaseModel):
    """The part of a history that is asked for."""

    after: Annotated[int, Field(strict=True, ge=0, le=POSITION_MAX), BeforeValidator(digits)] = Field(
        default=0, description="the position of the last event of the page before"
    )
    limit: Annotated[int, Field(strict=True, ge=1, le=MAX_PAGE), BeforeValidator(digits)] = Field(
        default=DEFAULT_PAGE, description="how many at most"
    )


class EvenementVu(BaseModel):
    """An event."""

    position: int = Field(examples=[2])
    survenu_le: datetime = Field(examples=["2027-01-31T10:00:00Z"])
    type: str = Field(examples=[Alloué.__name__])
    version: int = Field(examples=[1])
    data: dict[str, Any] = Field(description="the fields of the event")
    commande: str | None = Field(description="the command that it follows from", examples=["Allouer"])
    cause: UUID | None = Field(description="shared by all events of one command")


class PageDHistoire(BaseModel):
    """Some events, oldest first."""

    histoire: list[EvenementVu]
    suivant: str | None = Field(description="the path of the next page, if there is one", examples=[None])
    horizon: datetime | None = Field(
        description="the instant up to which events are archived, and so not told here", examples=[None]
    )


class HttpHistory:
    """The routes for what the journal tells about a SKU or an order."""

    def __init__(self, reads: ReadServers) -> None:
        self._reads = reads

    def routes(self) -> Sequence[Route]:
        """The methods below, and what is promised about them."""
        return tuple(
            Route(
                "GET",
                rule,
                function,
                answers={200: PageDHistoire},
                query=DemandeHistoire,
                headers=DemandeDeLecture,
                refusals=(StorageUnavailable, JetonInconnu),
                answer_headers=freshness.ANSWER_HEADERS,
            )
            for rule, function in (
                ("/stock/<identifier:sku>/histoire", self.of_stock),
                ("/allocations/<identifier:id_commande>/histoire", self.of_order),
            )
        )

    async def of_stock(self, request: Request, sku: str) -> Response:
        """What happened to a SKU, when, and by which command."""
        page = await self._page(request, history.STOCK, "sku", sku, "/stock/{}/histoire")
        if page is None:
            raise unknown_sku(sku)
        return page

    async def of_order(self, request: Request, id_commande: str) -> Response:
        """What happened to an order, when, and by which command."""
        page = await self._page(
            request, history.ORDER, "id_commande", id_commande, "/allocations/{}/histoire"
        )
        if page is None:
            raise Introuvable(
                Words(
                    f"Rien n'est connu de la commande {id_commande}",
                    f"Nothing is known of order {id_commande}",
                )
            )
        return page

    async def _page(
        self, request: Request, view: HistoryOf, champ: str, given: str, path: str
    ) -> Response | None:
        """A page of what happened, and the path of the next one; None if nothing is known of it."""
        demande = read_query(request, DemandeHistoire)
        for spelling in spellings(champ, given):
            parameters = {champ: spelling, **demande.model_dump()}
            answer = await view.page(parameters, self._reads, wanted_freshness(request))
            events = announced(request, answer)
            if events is not None:
                return _answer(path.format(quote(spelling, safe="")), demande, events)
        return None


def unknown_sku(sku: str) -> Introuvable:
    """The refusal for a SKU of which nothing is known."""
    return Introuvable(Words(f"SKU inconnu : {sku}", f"Unknown SKU: {sku}"))


def wanted_instant(request: Request) -> datetime | None:
    """The instant that this request asks for, or None. Raises ChampsInvalides."""
    return read_query(request, DemandeInstant).at if request.query_string else None


def _answer(path: str, demande: DemandeHistoire, events: History) -> Response:
    suivant = None
    if len(events) == demande.limit:
        suivant = f"{path}?" + urlencode({"after": events[-1]["position"], "limit": demande.limit})
    return json_response({"histoire": events, "suivant": suivant, "horizon": events.horizon})
