"""The address that `allocation serve` listens on: resolved from its name, and kept from other programs."""

import errno
import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from allocation.domain.errors import AllocationError

_NOT_ON_THIS_MACHINE = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class CannotListen(AllocationError):
    """The address can't be used; the message says which and why."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port}: {reason}. Another port: allocation serve --port N")


@dataclass(frozen=True)
class Address:
    """An IP address and a port of this machine."""

    ip: str
    port: int

    def url(self, name: str | None = None) -> str:
        """The URL for clients on this machine, with `name` in it unless the address means every address."""
        address = ipaddress.ip_address(self.ip)
        if address.is_unspecified:
            host = "[::1]" if address.version == 6 else "127.0.0.1"  # noqa: PLR2004
        else:
            host = name or self.ip
            host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}"


@contextmanager
def held_address(host: str, port: int) -> Iterator[Address]:
    """Within the context, reserve the first address of `host`, IPv4 before IPv6, for this program.

    The server's own processes can still listen on it, as processes of the same user may share the port.
    Raises CannotListen.
    """
    trouble: OSError | None = None
    for family, ip in _addresses(host, port):
        try:
            held = _hold(family, ip, port)
        except OSError as error:
            trouble = error
            if error.errno not in _NOT_ON_THIS_MACHINE:
                break
        else:
            with held:
                yield Address(ip, port)
            return
    raise CannotListen(host, port, os.strerror(trouble.errno or 0) if trouble else "it has no usable address")


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "this is no name"
        raise CannotListen(host, port, reason or "unknown") from error
    # The server can't be given an address that needs an interface (a scope).
    usable = [(family, str(address[0])) for family, *_, address in found if "%" not in str(address[0])]
    return sorted(usable, key=lambda each: each[0] != socket.AF_INET)


def _hold(family: socket.AddressFamily, ip: str, port: int) -> socket.socket:
    """A socket that is bound to the address but accepts no connections.

    Binding and listening without sharing shows that nobody else has the address. The socket then allows
    sharing, which the kernel grants only to processes of the same user that ask for it. A program that wants
    the address for itself alone, as this one does at first, is refused.
    """
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Connections that ended a moment ago must not block the address.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((ip, port))
        held.listen()
        if sys.platform == "linux":
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.shutdown(socket.SHUT_RDWR)
        else:
            held.close()
    except OSError:
        held.close()
        raise
    return held
