"""The kinds of files: which command a line asks for, and what its outcomes are called."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from allocation.adapters.write_model.known_stock import KnownLot
from allocation.domain.commands import Allouer, Command, CréerLot, ModifierQuantitéLot
from allocation.domain.errors import StockInsuffisant, ValeurInvalide
from allocation.domain.values import Enregistré
from allocation.entrypoints.csv_files.columns import Fields
from allocation.entrypoints.csv_files.values import DateParser, units
from allocation.service_layer.results import Outcome, Results

REJECTED = "rejected"
OUT_OF_STOCK = "out of stock"
REPEATED = "repeated"

_QUANTITY_TITLES = ("quantité", "qty")

LOT_FIELDS = Fields(
    {"réf": ("réf",), "sku": ("sku",), "quantité": _QUANTITY_TITLES, "eta": ("eta",)}, frozenset({"eta"})
)
ORDER_LINE_FIELDS = Fields(
    {
        "id_commande": ("id_commande", "orderid"),
        "sku": ("sku",),
        "quantité": _QUANTITY_TITLES,
        "ligne": ("ligne",),
    },
    frozenset({"ligne"}),
)


class LineOutcome(NamedTuple):
    """What became of a line: the outcome's name, and the reason if the line is handed back."""

    name: str
    reason: str | None = None


@dataclass(frozen=True)
class Kind:
    """What the lines of a file ask for; `one_by_one` if a line depends on the effect of those before it.

    `done` names the outcome of a command that has changed something, `others` what else may become of a line.
    """

    command: Callable[[Mapping[str, str]], Command]
    done: Mapping[type[Command], str]
    others: Sequence[str] = (REPEATED,)
    one_by_one: bool = False

    @property
    def outcomes(self) -> Sequence[str]:
        """The names of all outcomes, but for lines that are rejected."""
        return (*self.done.values(), *self.others)

    def outcome(self, command: Command, results: Results) -> LineOutcome:
        """What became of the line that asked for this command. Raises a refusal that is not a stock-out."""
        if isinstance(refusal := results.refusal, StockInsuffisant):
            best = f"le mieux fourni a {refusal.quantité_disponible} unités"
            return LineOutcome(OUT_OF_STOCK, f"rupture de stock : aucun lot ne suffit, {best}")
        repeated = results.raise_for_refusal().outcome is Outcome.REPEATED
        return LineOutcome(REPEATED if repeated else self.done[type(command)])


def lots(day: DateParser) -> Kind:
    """Lines that receive lots."""

    def command(values: Mapping[str, str]) -> Command:
        return CréerLot(values["réf"], values["sku"], units(values["quantité"]), day(values.get("eta", "")))

    return Kind(command, {CréerLot: "received"})


def lots_or_updates(day: DateParser, known_lot: Callable[[str, str], KnownLot | None]) -> Kind:
    """Lines that receive lots, or set the quantity of lots that `known_lot` finds."""

    def command(values: Mapping[str, str]) -> Command:
        sku, réf, quantité = values["sku"], values["réf"], units(values["quantité"])
        eta = day(values.get("eta", ""))
        known = known_lot(sku, réf)
        if known is None:
            return CréerLot(réf, sku, quantité, eta)
        if "eta" in values and known.eta != eta:
            raise ValeurInvalide("eta", f"le lot {réf} a {known.eta}, et seule sa quantité peut changer")
        return ModifierQuantitéLot(Enregistré(réf), quantité, Enregistré(sku))

    return Kind(command, {CréerLot: "received", ModifierQuantitéLot: "updated"}, one_by_one=True)


def _order_line(values: Mapping[str, str]) -> Command:
    return Allouer(values["id_commande"], values["sku"], units(values["quantité"]), values.get("ligne", ""))


ORDER_LINES = Kind(_order_line, {Allouer: "allocated"}, others=(REPEATED, OUT_OF_STOCK))
