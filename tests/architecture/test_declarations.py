"""What must be said of every command, refusal and event, wherever it is declared."""

import json
from pathlib import Path

from tests.declared import declared_below

from allocation.domain.commands import Command
from allocation.domain.errors import Refus
from allocation.domain.events import Event
from allocation.entrypoints.http.errors import PROBLEMS
from allocation.service_layer.bootstrap import COMMAND_HANDLERS

STORED_EVENTS = Path(__file__).parents[1] / "unit" / "stored_events.json"


def test_chaque_commande_a_son_cas_d_usage() -> None:
    assert declared_below(Command) == COMMAND_HANDLERS.keys()


def test_chaque_refus_a_sa_ligne_dans_la_table_des_problèmes() -> None:
    assert declared_below(Refus) - PROBLEMS.keys() == set()


def test_chaque_événement_a_son_exemple() -> None:
    examples = {each["type"] for each in json.loads(STORED_EVENTS.read_text(encoding="utf-8"))}

    assert {each.__name__ for each in declared_below(Event)} == examples
