"""Numbers for lines that have none: what tells lines of one SKU in one order apart.

They are numbered by their place in the file. Lines that are refused count too, so that a file that was
mended numbers the others as before; numbers that other lines of the file bear are passed over. What was seen
lives in a temporary database on disk, which SQLite deletes when it is closed.
"""

import sqlite3
from collections.abc import Callable
from typing import TypeAlias

LastNumber: TypeAlias = Callable[[str, str], int]


def none_before(id_commande: str, sku: str) -> int:  # noqa: ARG001 - any order begins with 1
    """The last number of an order's lines when what is known of them already does not count."""
    return 0


class LineNumbers:
    """The numbers of one file. `last_number` says behind which one an order's lines of a SKU go on."""

    def __init__(self, last_number: LastNumber = none_before) -> None:
        self._last_number = last_number
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE seen (line BLOB PRIMARY KEY, last INTEGER) WITHOUT ROWID")
        self._database.execute("CREATE TABLE borne (line BLOB, ligne BLOB, PRIMARY KEY (line, ligne))")
        self._database.execute("BEGIN")
        self._some_are_borne = False

    def bear(self, id_commande: str, sku: str, ligne: str) -> None:
        """A line of the file bears this number: no other gets it."""
        self._some_are_borne = True
        self._database.execute(
            "INSERT INTO borne VALUES (?, ?) ON CONFLICT DO NOTHING", (_key(id_commande, sku), _bytes(ligne))
        )

    def next(self, id_commande: str, sku: str) -> str:
        """The number of the next line that bears none."""
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
        """Delete what was seen."""
        self._database.close()


class Orders:
    """A set of orders, on disk as the numbers are."""

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
    """Any text, also one that was not in the encoding that was expected."""
    return text.encode("utf-8", "surrogatepass")
