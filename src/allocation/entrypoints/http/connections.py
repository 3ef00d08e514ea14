"""The process's own connections as the kernel sees them, to find those whose request never completes."""

import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from pydantic_core import to_json

from allocation.entrypoints.http.errors import HTTP_PROBLEMS, MEDIA_TYPE
from allocation.entrypoints.http.words import Language

# How long after its last byte a request may have begun to be processed.
_PICKED_UP_WITHIN_S = 5.0
# From Linux's tcp_info: milliseconds since data was last sent, since an acknowledgement was last sent, and
# since data last arrived (before any has, since the connection was opened); and the number of data segments
# received.
_OF_TCP_INFO = struct.Struct("=44xIII96xI")

_PROBLEM = HTTP_PROBLEMS[408]
# In both languages, as no header has said yet which is wanted.
_LANGUAGE: Language = "fr"
_DOCUMENT = to_json(
    {
        "type": _PROBLEM.type,
        "title": _PROBLEM.title.said(_LANGUAGE),
        "status": _PROBLEM.status,
        "detail": _PROBLEM.detail.said(_LANGUAGE),
    }
)
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\nContent-Type: %s\r\nContent-Language: %s\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s\n"
) % (MEDIA_TYPE.encode(), _LANGUAGE.encode(), len(_DOCUMENT) + 1, _DOCUMENT)


def close_unanswered(port: int, timeout_s: float, *, spared: Sequence[float]) -> int:
    """Answer 408 on connections to `port` whose request has gone unanswered for `timeout_s`; return how many.

    Connections whose last byte arrived shortly before one of the instants in `spared` are left alone. Only
    Linux provides this information; elsewhere no connection is closed. Raises OSError.
    """
    closed = 0
    for connection in _connections_to(port):
        with closing(connection), suppress(OSError):
            sent_ms, _, received_ms, segments = _tcp_info(connection)
            last_byte = time.monotonic() - received_ms / 1000
            working = any(0 <= began - last_byte + 0.1 <= _PICKED_UP_WITHIN_S for began in spared)
            if segments and received_ms <= sent_ms > timeout_s * 1000 and not working:
                connection.send(_TOO_SLOW, socket.MSG_DONTWAIT)
                connection.shutdown(socket.SHUT_RDWR)
                closed += 1
    return closed


def _tcp_info(connection: socket.socket) -> tuple[int, int, int, int]:
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return _OF_TCP_INFO.unpack_from(info)


def _connections_to(port: int) -> Iterator[socket.socket]:
    """Duplicates of the process's sockets for connections to this port."""
    if sys.platform != "linux":
        return
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            descriptor = os.dup(int(entry.name))
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.close(descriptor)
                continue
            connection = socket.socket(fileno=descriptor)
            if _is_connected_to(connection, port):
                yield connection
            else:
                connection.close()


def _is_connected_to(connection: socket.socket, port: int) -> bool:
    if connection.family not in {socket.AF_INET, socket.AF_INET6}:
        return False
    with suppress(OSError):
        return connection.getsockname()[1] == port and bool(connection.getpeername())
    return False
