"""The bodies of requests on the loop: bounded, and within a time limit."""

import asyncio

from granian._granian import RSGIHTTPProtocol, RSGIProtocolClosed
from granian.rsgi import Scope
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

BODY_TIMEOUT_S = 10.0


async def read_body(scope: Scope, protocol: RSGIHTTPProtocol, limit: int) -> bytes:
    """The body. Raises RequestTimeout if it does not arrive in time, or not whole.

    Raises RequestEntityTooLarge if it is longer than `limit` bytes, or says that it is.
    """
    announced = _length(scope)
    if announced is not None and announced > limit:
        raise RequestEntityTooLarge
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await (_in_pieces(protocol, limit) if announced is None else protocol())
    except (TimeoutError, RSGIProtocolClosed):
        raise RequestTimeout from None
    if announced is not None and len(body) < announced:
        # The client has gone.
        raise RequestTimeout
    return body


async def _in_pieces(protocol: RSGIHTTPProtocol, limit: int) -> bytes:
    """The body that comes in chunks. Raises like `read_body`, also if its last chunk has trailers.

    Granian gives an empty piece for the end, and one more for what was wrong before it, or for trailers.
    """
    body, empty = bytearray(), 0
    async for piece in protocol:
        body += piece
        empty += not piece
        if len(body) > limit:
            raise RequestEntityTooLarge
    if empty > 1:
        raise RequestTimeout
    return bytes(body)


def _length(scope: Scope) -> int | None:
    """The length of the body in bytes; None if it comes in chunks, as long as they come."""
    if "transfer-encoding" in scope.headers:
        return None
    return int(scope.headers.get("content-length", "0"))
