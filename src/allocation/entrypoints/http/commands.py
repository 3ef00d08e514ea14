"""The write side of HTTP: a request becomes a command, its results become an answer."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import BaseModel

from allocation.adapters.postgresql.database import (
    Locked,
    OutcomeUnknown,
    StorageUnavailable,
    ValueRefused,
    VersionConflict,
)
from allocation.domain.commands import Command
from allocation.domain.errors import (
    LigneModifiée,
    LotExistant,
    LotInconnu,
    RéférenceAmbiguë,
    SkuInconnu,
    StockInsuffisant,
)
from allocation.entrypoints.http.freshness import announce_token, token_header
from allocation.entrypoints.http.identifiers import spellings_of_lot
from allocation.entrypoints.http.messages import Request, Response, json_response
from allocation.entrypoints.http.route import Header, Route, read_body, read_query
from allocation.entrypoints.http.schemas.allocations import DemandeAllocation, LotDeLaLigne
from allocation.entrypoints.http.schemas.lots import (
    CorrectionDeLot,
    DemandeCorrection,
    DemandeLot,
    DemandeSku,
    LotConnu,
)
from allocation.service_layer.callers import Caller
from allocation.service_layer.group_commit import GaveUp, QueueFull
from allocation.service_layer.messagebus import MessageBus
from allocation.service_layer.results import Outcome, Results

M = TypeVar("M", bound=BaseModel)

# What the database, or the way to it, may say to any command.
ANY_COMMAND = (ValueRefused, StorageUnavailable, Locked, OutcomeUnknown, VersionConflict, QueueFull, GaveUp)
LOCATION = Header("Location", "where to read the result", {"type": "string"}, (200, 201))


class HttpCommands:
    """What may be asked to change stock: by commands on this bus, whose results the caller waits for."""

    def __init__(self, bus: MessageBus[Any], caller: Caller[Any]) -> None:
        self._bus = bus
        self._caller = caller

    def routes(self) -> Sequence[Route]:
        """The methods below, and what is promised about them."""
        receiving = Route(
            "POST",
            "/lots",
            self.receive_lot,
            answers={201: LotConnu, 200: LotConnu},
            body=DemandeLot,
            refusals=(LotExistant, *ANY_COMMAND),
            answer_headers=(LOCATION, token_header(200, 201)),
        )
        allocating = Route(
            "POST",
            "/allocate",
            self.allocate,
            answers={201: LotDeLaLigne, 200: LotDeLaLigne},
            body=DemandeAllocation,
            refusals=(SkuInconnu, StockInsuffisant, LigneModifiée, *ANY_COMMAND),
            answer_headers=(LOCATION, token_header(200, 201, 409)),
        )
        correcting = Route(
            "PATCH",
            "/lots/<identifier:ref>",
            self.correct_quantity,
            answers={200: CorrectionDeLot},
            body=DemandeCorrection,
            query=DemandeSku,
            refusals=(LotInconnu, RéférenceAmbiguë, *ANY_COMMAND),
            answer_headers=(token_header(200),),
        )
        return (allocating, receiving, replace(receiving, rule="/add_batch"), correcting)

    async def allocate(self, request: Request) -> Response:
        """Tie an order line to a lot; a repeated line gets its lot again."""
        demande = await self._asked(request, DemandeAllocation)
        results = (await self._results(request, demande.command())).raise_for_refusal()
        location = f"/allocations/{quote(demande.id_commande, safe='')}"
        return _created(results, {"réf_lot": results[0]}, location)

    async def receive_lot(self, request: Request) -> Response:
        """Receive a lot; the same lot again changes nothing."""
        demande = await self._asked(request, DemandeLot)
        results = await self._results(request, demande.command())
        location = f"/lots/{quote(demande.réf, safe='')}?{urlencode({'sku': demande.sku})}"
        return _created(results, {"réf": demande.réf}, location)

    async def correct_quantity(self, request: Request, ref: str) -> Response:
        """Correct what a lot holds; lines that no longer fit are allocated elsewhere."""
        demande = await self._asked(request, DemandeCorrection)
        for réf, sku in spellings_of_lot(ref, read_query(request, DemandeSku).sku):
            with suppress(LotInconnu):
                results = await self._results(request, demande.command(réf, sku))
                return json_response({"réf": réf, "quantité": demande.quantité, **_reallocations(results)})
        raise LotInconnu(ref)

    async def _asked(self, request: Request, model: type[M]) -> M:
        """The request's JSON body, unless no command is accepted now: refusing must cost next to nothing."""
        self._bus.check_room()
        return await read_body(request, model)

    async def _results(self, request: Request, command: Command) -> Results:
        """The results of the command; whatever is answered says from which position on it can be read."""
        results = await self._bus.handled(command, self._caller)
        announce_token(request, results.token)
        return results


def _created(results: Results, body: dict[str, str], location: str) -> Response:
    """201 if the command has changed something, 200 if it was a repetition."""
    status = HTTPStatus.CREATED if results.outcome is Outcome.DONE else HTTPStatus.OK
    return json_response(body, status, {"Location": location})


def _reallocations(results: Results) -> dict[str, list[dict[str, Any]]]:
    """What became of the lines that lost their lot."""
    lignes = [(asdict(ligne), réf_lot) for ligne, réf_lot in results.réallocations]
    return {
        "réallouées": [{**ligne, "réf_lot": réf_lot} for ligne, réf_lot in lignes if réf_lot is not None],
        "sans_lot": [ligne for ligne, réf_lot in lignes if réf_lot is None],
    }
