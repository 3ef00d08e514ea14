"""Read-your-writes in headers: tokens, how long to wait for them (RFC 7240), how fresh an answer is."""

import re
from typing import Any, TypeVar

from pydantic import ValidationError

from allocation.adapters.journal.tokens import ConsistencyToken
from allocation.adapters.postgresql.read_servers import TooManyFallBacks, TooManyWaiting
from allocation.entrypoints.http.messages import Request
from allocation.entrypoints.http.preferences import preferences_in
from allocation.entrypoints.http.refusals import ChampsInvalides
from allocation.entrypoints.http.route import Header
from allocation.entrypoints.http.schemas.freshness import TOKEN_SCHEMA, DemandeDeLecture
from allocation.views.freshness import ANY, DEFAULT_WAIT_S, Answer, Freshness
from allocation.views.staleness import JetonInconnu, ProjectionPaused, ViewLate

T = TypeVar("T")

MAX_WAIT_S = 30

TOKEN, PREFER = "Consistency-Token", "Prefer"
POSITION, STALE, APPLIED, SERVED_BY = (
    "Projection-Position",
    "Projection-Stale",
    "Preference-Applied",
    "Served-By",
)

REFUSALS = (ViewLate, ProjectionPaused, JetonInconnu, TooManyWaiting, TooManyFallBacks)

_NUMBER = {"type": "integer", "minimum": 0}
ANSWER_HEADERS = (
    Header(POSITION, "the position of the journal that the view reflects", _NUMBER, (200, 404, 503)),
    Header(STALE, "true: the view has not reached the token", {"const": "true"}, (200, 404)),
    Header(APPLIED, "handling=lenient, with a stale answer", {"type": "string"}, (200, 404)),
    Header(SERVED_BY, "which server, where there is a replica", {"enum": ["primary", "replica"]}, (200, 404)),
)


def token_header(*statuses: int) -> Header:
    """The header with the token of a write, which reads may send back."""
    return Header(TOKEN, "to be sent with reads that must reflect this write", TOKEN_SCHEMA, statuses)


def announce_token(request: Request, token: ConsistencyToken) -> None:
    """Put the token of the write into the headers of whatever is answered."""
    request.announce({TOKEN: str(token)})


def announced(request: Request, answer: Answer[T]) -> T:
    """The value of a view's answer; how fresh it is goes into the headers of whatever is answered."""
    request.announce(freshness_headers(answer))
    return answer.value


def freshness_headers(answer: Answer[Any]) -> dict[str, str]:
    """The headers that say how fresh an answer is and which server gave it."""
    headers = {POSITION: str(answer.position)}
    if answer.stale:
        headers |= {STALE: "true", APPLIED: "handling=lenient"}
    if answer.served_by is not None:
        headers[SERVED_BY] = answer.served_by
    return headers


def wanted_freshness(request: Request) -> Freshness:
    """The freshness that this request asks for. Raises ChampsInvalides."""
    token = request.header(TOKEN.lower())
    if token is None:
        return ANY
    try:
        demande = DemandeDeLecture.model_validate(
            {TOKEN: token, PREFER: request.header(PREFER.lower()) or ""}
        )
    except ValidationError as error:
        raise ChampsInvalides.found_by(error) from error
    preferences = preferences_in(demande.préférences)
    wait = preferences.get("wait", "")
    return Freshness(
        after=demande.jeton.position,
        mark=demande.jeton.mark,
        wait_s=min(float(wait), MAX_WAIT_S) if _SECONDS.fullmatch(wait) else DEFAULT_WAIT_S,
        lenient=preferences.get("handling", "").lower() == "lenient",
    )


_SECONDS = re.compile("[0-9]+")
