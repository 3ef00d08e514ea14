"""Numbers for order lines that have none, to tell lines of one SKU in one order apart.

They are derived from the place in the file. Refused lines count too, so that the other lines keep their
numbers once the file has been corrected; numbers that the file gives explicitly are skipped. Numbers in use
are kept in a temporary SQLite database on disk, which disappears when it is closed.
"""

import sqlite3
from collections.abc import Callable
from typing import TypeAlias

LastNumber: TypeAlias = Callable[[str, str], int]


def none_before(id_commande: str, sku: str) -> int:  # noqa: ARG001 - any order begins with 1
    """Zero: numbering starts at 1, whatever lines of the order are already known."""
    return 0


class LineNumbers:
    """The numbers of one file. `last_number` gives the number after which an order's lines of a SKU go on."""

    def __init__(self, last_number: LastNumber = none_before) -> None:
        self._last_number = last_number
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE seen (line BLOB PRIMARY KEY, last INTEGER) WITHOUT ROWID")
        self._database.execute("CREATE TABLE borne (line BLOB, ligne BLOB, PRIMARY KEY (line, ligne))")
        self._database.execute("BEGIN")
        self._some_are_borne = False

    def bear(self, id_commande: str, sku: str, ligne: str) -> None:
        """Reserve a number that the file gives to a line: no other line gets it."""
        self._some_are_borne = True
        self._database.execute(
            "INSERT INTO borne VALUES (?, ?) ON CONFLICT DO NOTHING", (_key(id_commande, sku), _bytes(ligne))
        )

    def next(self, id_commande: str, sku: str) -> str:
        """The number for the next line that has none in the file."""
        key = _key(id_commande, sku)
        found = self._database.execute("SELECT last FROM seen WHERE line = ?", (key,)).fetchone()
        number = 1 + (self._last_number(id_commande, sku) if found is None else found[0])
        while self._some_are_borne and self._is_borne(key, number):
            number += 1
        self._database.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (key, number))
        return str(number)

    def _is_borne(self, key: bytes, number: int) -> bool:
        query = "SELECT 1 FROM borne WHERE line = ? AND ligne = ?"
        return self._database.execute(query, (key, _bytes(str(number)))).fetchone() is not None

    def close(self) -> None:
        """Delete the temporary database."""
        self._database.close()


class Orders:
    """A set of orders, kept on disk like the numbers."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE orders (id_commande BLOB PRIMARY KEY) WITHOUT ROWID")
        self._database.execute("BEGIN")

    def add(self, id_commande: str) -> None:
        """Put the order in, once."""
        self._database.execute("INSERT INTO orders VALUES (?) ON CONFLICT DO NOTHING", (_bytes(id_commande),))

    def __len__(self) -> int:
        [count] = self._database.execute("SELECT count(*) FROM orders").fetchone()
        return int(count)

    def close(self) -> None:
        """Delete the set."""
        self._database.close()


def _key(id_commande: str, sku: str) -> bytes:
    return _bytes(f"{id_commande}\0{sku}")


def _bytes(text: str) -> bytes:
    """The text as bytes, even where it was not valid in the expected encoding."""
    return text.encode("utf-8", "surrogatepass")
