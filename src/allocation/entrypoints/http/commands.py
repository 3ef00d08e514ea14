"""The write side of HTTP: a request becomes a command, its results become an answer."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from flask import Response, jsonify

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
from allocation.entrypoints.http.route import Header, Route, read_body, read_query
from allocation.entrypoints.http.schemas.allocations import DemandeAllocation, LotDeLaLigne
from allocation.entrypoints.http.schemas.lots import (
    CorrectionDeLot,
    DemandeCorrection,
    DemandeLot,
    DemandeSku,
    LotConnu,
)
from allocation.service_layer.group_commit import GaveUp, QueueFull
from allocation.service_layer.messagebus import MessageBus, Results
from allocation.service_layer.results import Outcome

# What the database, or the way to it, may say to any command.
ANY_COMMAND = (ValueRefused, StorageUnavailable, Locked, OutcomeUnknown, VersionConflict, QueueFull, GaveUp)
LOCATION = Header("Location", "where to read the result", {"type": "string"}, (200, 201))


class HttpCommands:
    """What may be asked to change stock."""

    def __init__(self, bus: MessageBus[Any]) -> None:
        self._bus = bus

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

    def allocate(self) -> Response:
        """Tie an order line to a lot; a repeated line gets its lot again."""
        demande = read_body(DemandeAllocation)
        results = self._handle(demande.command()).raise_for_refusal()
        return _created(
            results, {"réf_lot": results[0]}, f"/allocations/{quote(demande.id_commande, safe='')}"
        )

    def receive_lot(self) -> Response:
        """Receive a lot; the same lot again changes nothing."""
        demande = read_body(DemandeLot)
        results = self._handle(demande.command())
        location = f"/lots/{quote(demande.réf, safe='')}?{urlencode({'sku': demande.sku})}"
        return _created(results, {"réf": demande.réf}, location)

    def correct_quantity(self, ref: str) -> Response:
        """Correct what a lot holds; lines that no longer fit are allocated elsewhere."""
        demande = read_body(DemandeCorrection)
        for réf, sku in spellings_of_lot(ref, read_query(DemandeSku).sku):
            with suppress(LotInconnu):
                results = self._handle(demande.command(réf, sku))
                return jsonify({"réf": réf, "quantité": demande.quantité, **_reallocations(results)})
        raise LotInconnu(ref)

    def _handle(self, command: Command) -> Results:
        """The results of the command; whatever is answered says from which position on it can be read."""
        results = self._bus.handle(command)
        announce_token(results.token)
        return results


def _created(results: Results, body: dict[str, str], location: str) -> Response:
    """201 if the command has changed something, 200 if it was a repetition."""
    response = jsonify(body)
    response.status_code = HTTPStatus.CREATED if results.outcome is Outcome.DONE else HTTPStatus.OK
    response.headers["Location"] = location
    return response


def _reallocations(results: Results) -> dict[str, list[dict[str, Any]]]:
    """What became of the lines that lost their lot."""
    lignes = [(asdict(ligne), réf_lot) for ligne, réf_lot in results.réallocations]
    return {
        "réallouées": [{**ligne, "réf_lot": réf_lot} for ligne, réf_lot in lignes if réf_lot is not None],
        "sans_lot": [ligne for ligne, réf_lot in lignes if réf_lot is None],
    }
