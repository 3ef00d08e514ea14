"""Events as they are stored: the form is a promise to every event that is in a journal already."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.declared import declared_below

from allocation.adapters.journal.serialization import (
    UPCASTS,
    UnknownEvent,
    as_json,
    from_fields,
    from_json,
    readable_versions,
    upcast,
)
from allocation.domain.events import (
    Alloué,
    Désalloué,
    Event,
    LotCréé,
    QuantitéLotModifiée,
    RuptureDeStock,
)

STORED = json.loads(Path(__file__).with_name("stored_events.json").read_text(encoding="utf-8"))

EVENTS: list[Event] = [
    LotCréé("lot-1", "LAMPE", 10),
    LotCréé("lot-2", "LAMPE", 5, date(2027, 1, 31)),
    QuantitéLotModifiée("lot-2", "LAMPE", 4, quantité_précédente=5, eta=date(2027, 1, 31)),
    Alloué("c-1", "LAMPE", 3, "lot-1", "2"),
    Désalloué("c-1", "LAMPE", 3, "lot-1", "2"),
    RuptureDeStock("c-2", "LAMPE", 30, quantité_disponible=10),
]


Fields = dict[str, Any]

NEWEST = [each for each in STORED if (each["type"], each["version"]) not in UPCASTS]


@pytest.mark.parametrize(("event", "stored"), list(zip(EVENTS, NEWEST, strict=True)))
def test_un_événement_se_range_et_se_relit_comme_toujours(event: Event, stored: dict[str, object]) -> None:
    assert {
        "type": type(event).__name__,
        "version": event.version,
        "data": json.loads(as_json(vars(event))),
    } == stored
    data = json.dumps(stored["data"])
    assert from_json(stored["type"], stored["version"], data) == event  # type: ignore[arg-type]
    assert from_fields(stored["type"], stored["version"], json.loads(data)) == event  # type: ignore[arg-type]


def without_example(types: Iterable[type[Event]]) -> set[tuple[str, int]]:
    """The versions, of all that were ever written of these types, of which no example is stored."""
    written = {(each.__name__, version) for each in types for version in range(1, each.version + 1)}
    return written - {(each["type"], each["version"]) for each in STORED}


def test_chaque_version_de_chaque_type_a_son_exemple_et_se_lit() -> None:
    assert without_example(declared_below(Event)) == set()
    for each in STORED:
        event = from_json(each["type"], each["version"], json.dumps(each["data"]))
        assert type(event).__name__ == each["type"]


def test_une_version_nouvelle_sans_exemple_se_remarque() -> None:
    @dataclass(frozen=True)
    class Alloué(Event):
        version: ClassVar[int] = 2

    @dataclass(frozen=True)
    class Inventé(Event):
        """Of a type that has no example at all."""

    assert without_example([Alloué, Inventé]) == {("Alloué", 2), ("Inventé", 1)}


def test_une_version_ancienne_est_amenée_à_celle_d_aujourd_hui_pas_à_pas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As if two versions had been before: the first had another name for the quantity, both had no line."""

    def name_the_quantity(fields: Fields) -> Fields:
        return {name: value for name, value in fields.items() if name != "qty"} | {"quantité": fields["qty"]}

    def number_the_line(fields: Fields) -> Fields:
        return {**fields, "ligne": "unique"}

    monkeypatch.setitem(UPCASTS, ("Alloué", -1), name_the_quantity)
    monkeypatch.setitem(UPCASTS, ("Alloué", 0), number_the_line)
    first = {"id_commande": "c-1", "sku": "LAMPE", "qty": 3, "réf_lot": "lot-1"}
    second = {"id_commande": "c-1", "sku": "LAMPE", "quantité": 3, "réf_lot": "lot-1"}

    today = Alloué("c-1", "LAMPE", 3, "lot-1", "unique")
    assert from_json("Alloué", -1, json.dumps(first)) == today
    assert from_json("Alloué", 0, json.dumps(second)) == today
    assert upcast("Alloué", -1, first) == (1, vars(today))
    assert {("Alloué", -1), ("Alloué", 0), ("Alloué", 1)} <= set(readable_versions())
    with pytest.raises(UnknownEvent):
        from_json("Désalloué", 0, json.dumps(second))


@pytest.mark.parametrize(("type_name", "version"), [("Inventé", 1), ("Alloué", 2), ("Event", 1), ("date", 1)])
def test_un_événement_d_un_programme_plus_récent_est_nommé(type_name: str, version: int) -> None:
    with pytest.raises(UnknownEvent) as error:
        from_json(type_name, version, "{}")

    assert (error.value.type_name, error.value.version) == (type_name, version)
