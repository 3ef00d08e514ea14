"""Rebuilds of read models over HTTP: requested and watched here, carried out by the worker."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from allocation.adapters.postgresql.database import Database, StorageUnavailable
from allocation.adapters.read_models.rebuilds import RebuildState
from allocation.entrypoints.http.messages import Request, Response, json_response
from allocation.entrypoints.http.refusals import Introuvable
from allocation.entrypoints.http.route import Header, Route, read_body
from allocation.entrypoints.http.schemas.read_models import DemandeReconstruction, ReconstructionVue
from allocation.entrypoints.http.words import Words
from allocation.projections import rebuild as rebuilding
from allocation.projections.delivery import Projection
from allocation.projections.rebuild import RebuildRefused

LOCATION = Header("Location", "where to watch it", {"type": "string"}, (202,))


class HttpRebuilds:
    """The routes for rebuilding read models; `projections` are the ones that exist."""

    def __init__(self, database: Database, projections: Sequence[Projection]) -> None:
        self._database = database
        self._projections: Mapping[str, Projection] = {each.name: each for each in projections}

    def routes(self) -> Sequence[Route]:
        """The methods below, and what is promised about them."""
        rule = "/projections/<identifier:name>/rebuild"
        return (
            Route(
                "POST",
                rule,
                self.request,
                answers={202: ReconstructionVue},
                body=DemandeReconstruction,
                refusals=(RebuildRefused, StorageUnavailable),
                answer_headers=(LOCATION,),
                blocks=True,
            ),
            Route(
                "GET",
                rule,
                self.watch,
                answers={200: ReconstructionVue},
                refusals=(StorageUnavailable,),
                blocks=True,
            ),
        )

    async def request(self, request: Request, name: str) -> Response:
        """Rebuild a read model beside the one in use, or resume the rebuild under way."""
        demande = await read_body(request, DemandeReconstruction)
        state = rebuilding.request(
            self._database, self._projection(name), source=demande.source, throttle=demande.débit_max
        )
        location = f"/projections/{quote(name, safe='')}/rebuild"
        return json_response(_facts(state), HTTPStatus.ACCEPTED, {"Location": location})

    async def watch(self, _: Request, name: str) -> Response:
        """How far the rebuild of a read model has come, or how the last one ended."""
        state = rebuilding.find(self._database, self._projection(name).name)
        if state is None:
            raise Introuvable(Words(f"{name} n'a pas été reconstruite", f"{name} has not been rebuilt"))
        return json_response(_facts(state))

    def _projection(self, name: str) -> Projection:
        if name not in self._projections:
            raise Introuvable(Words(f"Projection inconnue : {name}", f"Unknown projection: {name}"))
        return self._projections[name]


def _facts(state: RebuildState) -> dict[str, Any]:
    return {key: value for key, value in asdict(state).items() if key in ReconstructionVue.model_fields}
