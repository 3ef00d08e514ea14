"""The address of a database, in every form that libpq accepts, parsed into parameters."""

import os
import re
from collections.abc import Mapping
from typing import TypeAlias
from urllib.parse import quote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

# libpq's parameters, by name.
ConnectionInfo: TypeAlias = Mapping[str, str]

MASK = "***"

_SQLALCHEMY_SCHEME = re.compile(r"^postgresql\+psycopg://")
_EXPECTED = (
    "only PostgreSQL is supported: postgresql://user@host/database, or another address that libpq takes, "
    "such as host=… dbname=…; odd characters are percent-encoded in a URL"
)


def connection_info(address: str) -> ConnectionInfo:
    """The parameters of a URL, or of an address such as `host=… dbname=…`.

    Raises ValueError, whose text repeats nothing of the address, unless it is one of PostgreSQL.
    """
    try:
        found = conninfo_to_dict(_SQLALCHEMY_SCHEME.sub("postgresql://", address))
    except psycopg.ProgrammingError:
        raise ValueError(_EXPECTED) from None
    return {name: str(value) for name, value in found.items()}


def of_primary(info: ConnectionInfo) -> ConnectionInfo:
    """The same parameters, skipping read-only servers among several hosts unless they say otherwise."""
    hosts = info.get("host") or info.get("hostaddr") or os.environ.get("PGHOST", "")
    if "," not in hosts or "PGTARGETSESSIONATTRS" in os.environ:
        return info
    return {"target_session_attrs": "read-write", **info}


def shown_url(address: str) -> str:
    """The address as a URL in which every secret is masked. Raises ValueError like `connection_info`."""
    secrets = {option.keyword.decode() for option in Conninfo.get_defaults() if option.dispchar == b"*"}
    info = dict(connection_info(address))
    user = quote(info.pop("user", ""), safe="")
    password = f":{MASK}" if info.pop("password", None) is not None else ""
    database = quote(info.pop("dbname", ""), safe="")
    parameters = {name: MASK if name in secrets else value for name, value in info.items()}
    hosts = _shown_hosts(parameters)
    query = urlencode(parameters, safe="/*,", quote_via=quote)
    credentials = f"{user}{password}@" if user or password else ""
    return f"postgresql://{credentials}{hosts}/{database}{f'?{query}' if query else ''}"


def _shown_hosts(parameters: dict[str, str]) -> str:
    """Take hosts and ports out of the parameters, unless they are sockets or don't match in number."""
    hosts = parameters.get("host", "").split(",")
    ports = parameters.get("port", "").split(",")
    if "/" in "".join(hosts) or len(ports) not in {1, len(hosts)} or not all(hosts):
        return ""
    del parameters["host"]
    parameters.pop("port", None)
    ports = ports * len(hosts) if len(ports) == 1 else ports
    named = [f"[{host}]" if ":" in host else host for host in hosts]
    return ",".join(f"{host}:{port}" if port else host for host, port in zip(named, ports, strict=True))
