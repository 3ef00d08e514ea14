"""Where errors meet HTTP: one table from what went wrong to a status and a stable type (RFC 9457)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, jsonify, request
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import HTTPException

from allocation.adapters.database import (
    Locked,
    OutcomeUnknown,
    StorageUnavailable,
    ValueRefused,
    VersionConflict,
)
from allocation.adapters.read_servers import TooManyFallBacks, TooManyWaiting
from allocation.domain.errors import LigneModifiée, LotExistant, LotInconnu, SkuInconnu, ValeurInvalide
from allocation.domain.events import RuptureDeStock
from allocation.projections.rebuild import RebuildRefused
from allocation.service_layer.group_commit import GaveUp, QueueFull
from allocation.views.freshness import JetonInconnu, NotFresh, ProjectionPaused, ViewLate
from allocation.views.history import HistoireArchivée

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1


class JsonMalformé(Exception):
    """The body is not JSON in UTF-8. → 400"""


class Introuvable(Exception):
    """Nothing is known under this name. → 404"""


class RuptureConstatée(Exception):
    """No lot can take the line. → 409"""

    def __init__(self, event: RuptureDeStock) -> None:
        super().__init__(
            f"Rupture de stock : {event.quantité} unités de {event.sku} sont demandées, "
            f"le lot le mieux fourni en a {event.quantité_disponible}"
        )
        self.id_commande = event.id_commande
        self.sku = event.sku
        self.ligne = event.ligne
        self.quantité_demandée = event.quantité
        self.quantité_disponible = event.quantité_disponible


class ChampsInvalides(Exception):
    """Fields of the request are missing, unknown, or wrong. → 422"""

    def __init__(self, error: ValidationError) -> None:
        self.champs = [{"champ": _field(each), "raison": _reason(each)} for each in error.errors()]
        super().__init__(" ; ".join(f"{each['champ']} : {each['raison']}" for each in self.champs))


@dataclass(frozen=True)
class Problem:
    """What a client can count on: the status, the last part of `type`, and the title."""

    status: int
    slug: str
    title: str

    @property
    def type(self) -> str:
        """The stable identifier of this kind of refusal."""
        return f"urn:allocation:{self.slug}"


PROBLEMS: dict[type[Exception], Problem] = {
    JsonMalformé: Problem(400, "json-malformé", "JSON malformé"),
    SkuInconnu: Problem(400, "sku-inconnu", "SKU inconnu"),
    LotInconnu: Problem(404, "lot-inconnu", "Lot inconnu"),
    Introuvable: Problem(404, "introuvable", "Introuvable"),
    RuptureConstatée: Problem(409, "rupture-de-stock", "Rupture de stock"),
    LigneModifiée: Problem(409, "ligne-modifiée", "Ligne modifiée"),
    LotExistant: Problem(409, "lot-existant", "Lot existant"),
    RebuildRefused: Problem(409, "reconstruction-impossible", "Reconstruction impossible"),
    HistoireArchivée: Problem(410, "archivé", "Archivé"),
    JetonInconnu: Problem(412, "jeton-inconnu", "Jeton inconnu"),
    ChampsInvalides: Problem(422, "champs-invalides", "Champs invalides"),
    ValeurInvalide: Problem(422, "valeur-invalide", "Valeur invalide"),
    ValueRefused: Problem(422, "valeur-refusée", "Valeur refusée par la base de données"),
    QueueFull: Problem(503, "file-pleine", "File d'attente pleine"),
    GaveUp: Problem(503, "attente-trop-longue", "Attente trop longue"),
    VersionConflict: Problem(503, "trop-d-écrivains", "Trop d'écritures simultanées"),
    StorageUnavailable: Problem(503, "base-indisponible", "Base de données indisponible"),
    Locked: Problem(503, "verrou-tenu", "Verrou tenu par un autre"),
    OutcomeUnknown: Problem(503, "issue-inconnue", "Issue inconnue"),
    ViewLate: Problem(503, "vue-en-retard", "Vue en retard"),
    ProjectionPaused: Problem(503, "projection-en-pause", "Projection en pause"),
    TooManyWaiting: Problem(503, "trop-de-lectures-en-attente", "Trop de lectures en attente"),
    TooManyFallBacks: Problem(503, "trop-de-lectures-repliées", "Trop de lectures repliées sur la base"),
}

HTTP_PROBLEMS = {
    404: Problem(404, "introuvable", "Introuvable"),
    405: Problem(405, "méthode-refusée", "Méthode refusée"),
    413: Problem(413, "corps-trop-grand", "Corps trop grand"),
    415: Problem(415, "type-de-contenu-refusé", "Type de contenu refusé"),
}
_HTTP_DETAILS = {
    404: "Rien ne se trouve à cette adresse.",
    405: "Cette adresse n'accepte pas cette méthode.",
    413: "Le corps de la requête dépasse 64 Kio.",
    415: "Content-Type: application/json est attendu.",
}

INTERNAL = Problem(500, "erreur-interne", "Erreur interne")

# Pydantic's kinds of errors, in the words of the domain; its own words serve for any other.
_REASONS = {
    "missing": "le champ manque",
    "extra_forbidden": "ce champ n'existe pas",
    "string_type": "un texte est attendu",
    "string_too_short": "au moins {min_length} caractère est attendu",
    "string_too_long": "au plus {max_length} caractères sont attendus",
    "string_pattern_mismatch": "les caractères de contrôle sont refusés",
    "int_type": "un nombre entier est attendu",
    "greater_than_equal": "au moins {ge} est attendu",
    "less_than_equal": "au plus {le} est attendu",
    "date_type": "une date est attendue, comme 2027-01-31",
    "date_from_datetime_parsing": "une date est attendue, comme 2027-01-31",
    "model_type": "un objet JSON est attendu",
}


def register_error_handlers(app: Flask) -> None:
    """Let every error of the app leave it as a problem document, without its trace."""
    for error_type in PROBLEMS:
        app.register_error_handler(error_type, _answer)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(Exception, _answer_unexpected)


def _answer(error: Exception) -> Response:
    problem = PROBLEMS[type(error)]
    if problem.status != HTTPStatus.SERVICE_UNAVAILABLE:
        return _response(problem, str(error), vars(error))
    logger.warning("answered 503: %s", error)
    if isinstance(error, NotFresh):
        response = _response(problem, str(error), vars(error))
        response.headers["Projection-Position"] = str(error.position)
        response.headers["Consistency-Token"] = request.headers.get(
            "Consistency-Token", str(error.position_attendue)
        )
    else:
        response = _response(problem, "Rien n'a été confirmé ; la même requête peut être répétée.")
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _answer_http_exception(error: HTTPException) -> Response:
    code = error.code or INTERNAL.status
    problem = HTTP_PROBLEMS.get(code, Problem(code, f"http-{code}", error.name))
    response = _response(problem, _HTTP_DETAILS.get(code, error.description or error.name))
    response.headers.extend((key, value) for key, value in error.get_headers() if key != "Content-Type")
    return response


def _answer_unexpected(error: Exception) -> Response:
    logger.error("unexpected error", exc_info=error)
    return _response(INTERNAL, "L'erreur est inscrite au journal du serveur.")


def _response(problem: Problem, detail: str, facts: Mapping[str, Any] | None = None) -> Response:
    document = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": detail,
        **(facts or {}),
    }
    response = jsonify(document)
    response.status_code = problem.status
    response.mimetype = MEDIA_TYPE
    return response


def _field(error: ErrorDetails) -> str:
    return ".".join(str(part) for part in error["loc"]) or "(corps)"


def _reason(error: ErrorDetails) -> str:
    return _REASONS.get(error["type"], error["msg"]).format(**error.get("ctx", {}))
