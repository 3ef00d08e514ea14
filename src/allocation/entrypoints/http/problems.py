"""Errors as problem documents (RFC 9457), in the client's language and without a traceback."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from werkzeug.exceptions import HTTPException

from allocation.domain.errors import ValeurInvalide
from allocation.entrypoints.http.errors import HTTP_PROBLEMS, INTERNAL, MEDIA_TYPE, PROBLEMS, Problem
from allocation.entrypoints.http.messages import Request, Response, json_response
from allocation.entrypoints.http.refusals import ChampsInvalides, Introuvable
from allocation.entrypoints.http.words import Language, Words, reason_of, wanted_language
from allocation.service_layer.group_commit import QueueFull
from allocation.views.staleness import NotFresh

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 1


def refused(request: Request, error: Exception) -> Response:
    """The answer to a request that has ended with this error."""
    if isinstance(error, HTTPException):
        return _refused_by_http(request, error)
    problem = PROBLEMS.get(type(error))
    if problem is None:
        logger.error("unexpected error", exc_info=error)
        return _document(request, INTERNAL)
    if problem.status != HTTPStatus.SERVICE_UNAVAILABLE:
        return _document(request, problem, error)
    return _unavailable(request, problem, error)


def _document(request: Request, problem: Problem, error: Exception | None = None) -> Response:
    """The problem document for this error, in the client's language."""
    language = wanted_language(request.header("accept-language"))
    document = {
        "type": problem.type,
        "title": problem.title.said(language),
        "status": problem.status,
        "detail": _detail(problem, error, language),
        **_facts(error, language),
    }
    response = json_response(document, problem.status)
    response.media_type = MEDIA_TYPE
    response.headers |= {"Content-Language": language, "Vary": "Accept-Language"}
    return response


def _unavailable(request: Request, problem: Problem, error: Exception) -> Response:
    # Under overload there are thousands of these, and the metrics count them.
    logger.log(logging.DEBUG if isinstance(error, QueueFull) else logging.WARNING, "answered 503: %s", error)
    if isinstance(error, NotFresh):
        response = _document(request, problem, error)
        response.headers["Projection-Position"] = str(error.position)
        token = request.header("consistency-token")
        response.headers["Consistency-Token"] = str(error.position_attendue) if token is None else token
    else:
        response = _document(request, problem)
    response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _refused_by_http(request: Request, error: HTTPException) -> Response:
    code = error.code or INTERNAL.status
    response = _document(request, HTTP_PROBLEMS.get(code) or _other(code, error))
    response.headers |= {key: value for key, value in error.get_headers() if key != "Content-Type"}
    if code == HTTPStatus.REQUEST_TIMEOUT:
        # The unread rest of the body must not be taken for another request.
        response.headers["Connection"] = "close"
    return response


def _other(code: int, error: HTTPException) -> Problem:
    """The problem for an HTTP error without a row in the table."""
    detail = Words("Cette requête est refusée.", error.description or error.name)
    return Problem(code, f"http-{code}", Words("Requête refusée", error.name), detail)


def _detail(problem: Problem, error: Exception | None, language: Language) -> str:
    match error:
        case None:
            return problem.detail.said(language)
        case ChampsInvalides():
            return error.said(language)
        case ValeurInvalide() if language == "en":
            return f"{error.champ}: {reason_of(error).en}"
        case _:
            return problem.detail.said(language, error)


def _facts(error: Exception | None, language: Language) -> Mapping[str, Any]:
    """The members of a problem document beyond those that every one has."""
    match error:
        case None | Introuvable():
            return {}
        case ChampsInvalides():
            return {"champs": error.champs(language)}
        case ValeurInvalide():
            return {"champ": error.champ, "raison": reason_of(error).said(language)}
        case _:
            return vars(error)
