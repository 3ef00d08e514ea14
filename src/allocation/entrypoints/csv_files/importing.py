"""Importing files of any size: line by line, in constant memory, and safe to run again.

A refused line is handed back with its number and the reason; the import goes on with the rest.
"""

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

from allocation.domain.commands import Command
from allocation.domain.errors import Refus, ValeurInvalide
from allocation.entrypoints.csv_files.kinds import OUT_OF_STOCK, REJECTED, REPEATED, Kind, LineOutcome
from allocation.entrypoints.csv_files.numbering import LastNumber, LineNumbers, Orders, none_before
from allocation.entrypoints.csv_files.outcome_files import OutcomeFile, check_place
from allocation.entrypoints.csv_files.reading import CsvReading, CsvRow
from allocation.entrypoints.csv_files.records import Record
from allocation.service_layer.callers import BlockingPromise
from allocation.service_layer.results import Results

# Enough for large transactions, and less than a queue of the default size holds.
IN_FLIGHT = 512

_UNDECODED = re.compile(r"[\ud800-\udfff]")


class SentCommand(Protocol):
    """What a command that was sent off will be answered."""

    def result(self) -> Results:
        """Wait for the results and return them. Raises Refus."""


Submit: TypeAlias = Callable[[Command], SentCommand]
# Waits until it is known what became of a line.
Finish: TypeAlias = Callable[[], LineOutcome]


@dataclass
class Report:
    """What has been done so far: lines by outcome, and up to which line of the file.

    `repeated_by_place` counts repeated lines whose number was derived from their place in the file: only the
    user knows whether they are in truth further lines of their orders.
    """

    counts: Counter[str] = field(default_factory=Counter)
    repeated_by_place: int = 0
    incomplete_orders: int = 0
    last_line: int = 0
    stopped: bool = False
    files: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class NumberedRow:
    """A row with its order line's number, if it is an order line; `by_place` if the file has no number."""

    record: Record
    values: Mapping[str, str]
    by_place: bool = False

    @property
    def ligne(self) -> str:
        """The number, or an empty text without one."""
        return self.values.get("ligne", "")


@dataclass(frozen=True)
class Import:
    """The import of one file.

    At most `in_flight` lines are under way at a time, those of one SKU in the order of the file.
    `should_stop` is asked before each line; `last_number` gives the number after which an order's lines of a
    SKU are numbered.
    """

    file: CsvReading
    kind: Kind
    last_number: LastNumber = none_before
    in_flight: int = IN_FLIGHT
    should_stop: Callable[[], bool] = lambda: False
    on_progress: Callable[[int], None] = lambda _: None

    def run(self, submit: Submit, report: Report) -> None:
        """Submit the command of each line, and record its outcome in `report`.

        Raises FileUnreadable, OSError, VersionConflict or StorageUnavailable; what was done until then is
        kept, and is in the report.
        """
        check_place(self.file.path)
        report.counts.update(dict.fromkeys((*self.kind.outcomes, REJECTED), 0))
        shape = self.file.shape
        with (
            OutcomeFile(self.file.path, REJECTED, shape) as rejected,
            OutcomeFile(self.file.path, "out-of-stock", shape) as out_of_stock,
            closing(Orders()) as incomplete,
        ):
            handed_back = {REJECTED: rejected, OUT_OF_STOCK: out_of_stock}
            try:
                for row, finish in self._answered(submit, report):
                    outcome = finish()
                    if outcome.reason is not None:
                        handed_back[outcome.name].add(row.record, row.ligne, outcome.reason)
                        if order := row.values.get("id_commande"):
                            incomplete.add(order)
                    _note(report, row, outcome)
                    self.on_progress(self.file.bytes_read)
            finally:
                report.incomplete_orders = len(incomplete)
                report.files = {name: f.path for name, f in handed_back.items() if f.path is not None}

    def check(self, on_rejected: Callable[[Record, str], None]) -> Counter[str]:
        """How many lines were read, and how many of them would be rejected for their contents.

        Refusals that take the database to find are not counted. Nothing is written.
        """
        counts = Counter({"readable": 0, REJECTED: 0})
        with closing(LineNumbers()) as numbers:
            for row in self._rows(numbers):
                try:
                    self._command(row)
                except Refus as refusal:
                    on_rejected(row.record, str(refusal))
                    counts[REJECTED] += 1
                else:
                    counts["readable"] += 1
                self.on_progress(self.file.bytes_read)
        return counts

    def _answered(self, submit: Submit, report: Report) -> Iterator[tuple[NumberedRow, Finish]]:
        """Each row and its future outcome, in the order of the file, while later rows are being submitted."""
        sent: deque[tuple[NumberedRow, Finish]] = deque()
        with closing(LineNumbers(self.last_number)) as numbers:
            for row in self._rows(numbers):
                if report.stopped or self.should_stop():
                    report.stopped = True
                    break
                if len(sent) == (1 if self.kind.one_by_one else self.in_flight):
                    yield sent.popleft()
                sent.append((row, self._submitted(row, submit)))
            yield from sent

    def _submitted(self, row: NumberedRow, submit: Submit) -> Finish:
        try:
            command = self._command(row)
            answer = submit(command)
        except Refus as refusal:
            rejected = LineOutcome(REJECTED, str(refusal))
            return lambda: rejected
        return lambda: self._outcome(command, answer)

    def _outcome(self, command: Command, answer: SentCommand) -> LineOutcome:
        try:
            return self.kind.outcome(command, answer.result())
        except Refus as refusal:
            return LineOutcome(REJECTED, str(refusal))

    def _rows(self, numbers: LineNumbers) -> Iterator[NumberedRow]:
        if "ligne" in self.file.positions:
            _bear(self.file, numbers)
        return (_numbered(row, numbers) for row in self.file)

    def _command(self, row: NumberedRow) -> Command:
        """The command that the row asks for. Raises Refus."""
        if row.record.problem is not None:
            raise ValeurInvalide("ligne du fichier", row.record.problem)
        for name, value in row.values.items():
            if _UNDECODED.search(value):
                encoding = self.file.source.encoding
                raise ValeurInvalide(name, f"le texte n'est pas de l'{encoding} (voir --encoding)")
        return self.kind.command(row.values)


def one_by_one(handle: Callable[[Command], Results]) -> Submit:
    """A `submit` that calls `handle` and returns only when the command is done, instead of queueing it."""

    def submit(command: Command) -> SentCommand:
        answer = BlockingPromise()
        try:
            answer.give(handle(command))
        except Refus as refusal:
            answer.give(refusal)
        return answer

    return submit


def _bear(rows: Iterable[CsvRow], numbers: LineNumbers) -> None:
    """Reserve the line numbers that the file gives anywhere, so that no unnumbered line gets one of them."""
    for row in rows:
        if row.values.get("ligne") and (key := _order_and_sku(row)):
            numbers.bear(*key, row.values["ligne"])


def _numbered(row: CsvRow, numbers: LineNumbers) -> NumberedRow:
    """The row and, for an order line, its number: the one in the file, or one derived from its place."""
    key = _order_and_sku(row)
    if key is None or row.values.get("ligne"):
        return NumberedRow(row.record, row.values)
    return NumberedRow(row.record, {**row.values, "ligne": numbers.next(*key)}, by_place=True)


def _order_and_sku(row: CsvRow) -> tuple[str, str] | None:
    order, sku = row.values.get("id_commande"), row.values.get("sku")
    return (order, sku) if order and sku else None


def _note(report: Report, row: NumberedRow, outcome: LineOutcome) -> None:
    report.counts[outcome.name] += 1
    report.repeated_by_place += row.by_place and outcome.name == REPEATED
    report.last_line = row.record.number
