"""Importing CSV files of any size: line by line, in constant memory, and safe to run again.

A line that is refused goes to the rejected lines with its number and the reason, and the rest goes on.
"""

import re
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from allocation.domain.commands import Allouer, Command, CréerLot
from allocation.domain.errors import ErreurAllocation, ValeurInvalide
from allocation.domain.events import RuptureDeStock
from allocation.entrypoints.csv_records import CsvReader, Record, RejectedLines
from allocation.service_layer.commit_queue import Answer
from allocation.service_layer.messagebus import MessageBus, Results

_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,20}")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NOT_UTF_8 = re.compile(r"[\ud800-\udfff]")


# Enough for the transactions to be large; less than a queue of default size holds.
IN_FLIGHT = 512


class ImportRefused(Exception):
    """The file can't be imported at all; nothing was done."""


@dataclass(frozen=True)
class Kind:
    """What the lines of a file are. `fields` gives the headers under which each is found, unless mapped."""

    fields: Mapping[str, Sequence[str]]
    optional: frozenset[str]
    command: Callable[[Mapping[str, str]], Command]
    outcome: Callable[[Results], str]
    outcomes: Sequence[str]


@dataclass(frozen=True)
class CsvFile:
    """A file to import; `columns` maps fields to headers of its own."""

    path: Path
    columns: Mapping[str, str]
    delimiter: str

    @property
    def rejected_path(self) -> Path:
        """Where its rejected lines are written."""
        return self.path.with_name(f"{self.path.name}.rejected.csv")


def import_file(
    file: CsvFile,
    kind: Kind,
    bus: MessageBus[Any],
    on_progress: Callable[[int], None],
    *,
    in_flight: int = IN_FLIGHT,
) -> Counter[str]:
    """Handle each line as a command; how many lines had which outcome, "rejected" among them.

    Up to `in_flight` lines are under way together, lines of one SKU in the order of the file. `on_progress`
    is told the bytes read so far. Raises ImportRefused if a column is missing, OSError, VersionConflict or
    StorageUnavailable: what was done until then is kept.
    """
    counts = Counter(dict.fromkeys((*kind.outcomes, "rejected"), 0))
    with CsvReader(file.path, file.delimiter) as reader, closing(_LineNumbers()) as numbers:
        positions = _positions(reader.header, kind, file.columns)
        with RejectedLines(file.rejected_path, reader.header, file.delimiter) as rejected:

            def send(record: Record) -> Answer:
                values = _values(record, positions)
                numbers.complete(values)
                return bus.submit(kind.command(values))

            for record, answer in _in_order(reader, send, in_flight):
                try:
                    outcome = kind.outcome(answer.result())
                except ErreurAllocation as refusal:
                    rejected.add(record, str(refusal))
                    outcome = "rejected"
                counts[outcome] += 1
                on_progress(reader.bytes_read)
    return counts


def _in_order(
    records: Iterable[Record], send: Callable[[Record], Answer], in_flight: int
) -> Iterator[tuple[Record, Answer]]:
    """Each record with what holds its answer, in the order of the file, while those behind it are sent."""
    sent: deque[tuple[Record, Answer]] = deque()
    for record in records:
        if len(sent) == in_flight:
            yield sent.popleft()
        try:
            answer = send(record)
        except ErreurAllocation as refusal:
            answer = Answer()
            answer.give(refusal)
        sent.append((record, answer))
    yield from sent


class _LineNumbers:
    """Tells lines of one SKU in one order apart by their order in the file.

    Lines that are refused later count too, so that a file that was mended numbers the others as before. The
    counts live in a temporary database on disk, which SQLite deletes when it is closed.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute(
            "CREATE TABLE seen (id_commande, sku, lines, PRIMARY KEY (id_commande, sku)) WITHOUT ROWID"
        )
        self._database.execute("BEGIN")

    def complete(self, values: dict[str, str]) -> None:
        """Give an order line without a `ligne` its number."""
        if "id_commande" in values and not values.get("ligne"):
            [number] = self._database.execute(
                "INSERT INTO seen VALUES (?, ?, 1)"
                " ON CONFLICT DO UPDATE SET lines = lines + 1 RETURNING lines",
                (values["id_commande"], values["sku"]),
            ).fetchone()
            values["ligne"] = str(number)

    def close(self) -> None:
        """Delete the counts."""
        self._database.close()


def _positions(header: Sequence[str], kind: Kind, columns: Mapping[str, str]) -> dict[str, int]:
    """The column of each field. Raises ImportRefused."""
    if unknown := columns.keys() - kind.fields.keys():
        known = ", ".join(kind.fields)
        raise ImportRefused(f"no field is called {', '.join(sorted(unknown))}; there are: {known}")
    positions: dict[str, int] = {}
    for name, headers in kind.fields.items():
        wanted = [columns[name]] if name in columns else headers
        found = [position for position, title in enumerate(header) if title.strip() in wanted]
        if len(found) == 1:
            positions[name] = found[0]
        elif found or name in columns or name not in kind.optional:
            raise ImportRefused(
                f"{len(found)} columns of the file are called {' or '.join(wanted)}, "
                f"one is needed for {name}. The file has: {', '.join(header)}. "
                f"Map it: --column {name}=HEADER"
            )
    return positions


def _values(record: Record, positions: Mapping[str, int]) -> dict[str, str]:
    if record.problem is not None:
        raise ValeurInvalide("ligne du fichier", record.problem)
    values = {name: record.fields[position].strip() for name, position in positions.items()}
    for name, value in values.items():
        if _NOT_UTF_8.search(value):
            raise ValeurInvalide(name, "le texte n'est pas de l'UTF-8")
    return values


def _units(text: str) -> int:
    if not _WHOLE_NUMBER.fullmatch(text):
        raise ValeurInvalide("quantité", f"un nombre entier d'unités est attendu, non « {text[:40]} »")
    return int(text)


def _day(text: str) -> date | None:
    if not text:
        return None
    with suppress(ValueError):
        if _ISO_DATE.fullmatch(text):
            return date.fromisoformat(text)
    raise ValeurInvalide("eta", f"une date comme 2027-01-31 est attendue, non « {text[:40]} »")


def _lot_command(values: Mapping[str, str]) -> Command:
    return CréerLot(values["réf"], values["sku"], _units(values["quantité"]), _day(values.get("eta", "")))


def _lot_outcome(results: Results) -> str:
    return "received" if results.events else "repeated"


def _line_command(values: Mapping[str, str]) -> Command:
    return Allouer(values["id_commande"], values["sku"], _units(values["quantité"]), values["ligne"])


def _line_outcome(results: Results) -> str:
    if any(isinstance(event, RuptureDeStock) for event in results.events):
        return "out of stock"
    return "allocated" if results.events else "repeated"


QUANTITY_HEADERS = ("quantité", "quantite", "qty")

LOTS = Kind(
    fields={"réf": ("réf", "ref"), "sku": ("sku",), "quantité": QUANTITY_HEADERS, "eta": ("eta",)},
    optional=frozenset({"eta"}),
    command=_lot_command,
    outcome=_lot_outcome,
    outcomes=("received", "repeated"),
)

COMMANDES = Kind(
    fields={
        "id_commande": ("id_commande", "orderid"),
        "sku": ("sku",),
        "quantité": QUANTITY_HEADERS,
        "ligne": ("ligne",),
    },
    optional=frozenset({"ligne"}),
    command=_line_command,
    outcome=_line_outcome,
    outcomes=("allocated", "repeated", "out of stock"),
)
