"""From a request on a route to its answer, for every driver."""

from collections.abc import Mapping

from allocation.entrypoints.http.messages import Request, Response
from allocation.entrypoints.http.problems import refused
from allocation.entrypoints.http.route import Route, check_names


async def answer(route: Route, request: Request, arguments: Mapping[str, str]) -> Response:
    """What the route answers to this request, where the path has these arguments: a refusal, too."""
    try:
        if request.query_string:
            check_names(route, request)
        response = await route.function(request, **arguments)
    except Exception as error:  # noqa: BLE001 - each has a problem document, the unexpected as well
        response = refused(request, error)
    response.headers |= request.announced
    return response
