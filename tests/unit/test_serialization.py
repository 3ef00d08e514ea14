"""Events as they are stored: the form is a promise to every event that is in a journal already."""

import json
from datetime import date
from pathlib import Path

import pytest

from allocation.adapters.serialization import UnknownEvent, as_json, from_json
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


@pytest.mark.parametrize(("event", "stored"), list(zip(EVENTS, STORED, strict=True)))
def test_un_événement_se_range_et_se_relit_comme_toujours(event: Event, stored: dict[str, object]) -> None:
    assert {
        "type": type(event).__name__,
        "version": event.version,
        "data": json.loads(as_json(vars(event))),
    } == stored
    data = json.dumps(stored["data"])
    assert from_json(stored["type"], stored["version"], data) == event  # type: ignore[arg-type]


def test_chaque_type_d_événement_a_son_exemple() -> None:
    assert {type(event) for event in EVENTS} == set(Event.__subclasses__())


@pytest.mark.parametrize(("type_name", "version"), [("Inventé", 1), ("Alloué", 2), ("Event", 1), ("date", 1)])
def test_un_événement_d_un_programme_plus_récent_est_nommé(type_name: str, version: int) -> None:
    with pytest.raises(UnknownEvent) as error:
        from_json(type_name, version, "{}")

    assert (error.value.type_name, error.value.version) == (type_name, version)
