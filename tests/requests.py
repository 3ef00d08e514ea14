"""Requests as routes get them, without a driver."""

from collections.abc import Mapping

from allocation.entrypoints.http.messages import Request


def request_with(headers: Mapping[str, str]) -> Request:
    """A request with these headers, their names in lower case, and without a body."""

    async def no_body(_limit: int) -> bytes:
        return b""

    return Request("", headers.get, no_body)
