"""Headers that a request has twice, or that mean nothing: both drivers answer alike."""

import json
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import pytest
from tests.loop_client import Answer, ClientOf, DrivenClient, answer_of

from allocation.adapters.postgresql.database import Database
from allocation.projections.projector import catch_up, register
from allocation.service_layer.bootstrap import bootstrap, projection_followers
from allocation.service_layer.messagebus import MessageBus

LAMPE = {"réf": "lot-1", "sku": "LAMPE", "quantité": 100}
LINE = {"id_commande": "c-2", "sku": "LAMPE", "quantité": 1}
JSON = "application/json"
MALFORMED = (
    *("", " ", "x", "-1", "1.0", "1, 2", '"1"', "٣", "é"),
    *(str(2**63), "9" * 5000, "4-", "4-0f3c", "4-0F3C9A1B"),
)
LATE = "Consistency-Token", "2"


class Read(NamedTuple):
    """A request for a view."""

    method: str
    path: str
    body: object = None


STOCK = Read("GET", "/stock/LAMPE")
READS = [
    Read("GET", "/allocations/c-1"),
    Read("GET", "/lots/lot-1"),
    STOCK,
    Read("GET", "/stock"),
    Read("POST", "/disponibilités", {"skus": ["LAMPE"]}),
]


class Drivers:
    """Both drivers of a program whose views are one event behind its journal."""

    def __init__(self, flask: DrivenClient, loop: DrivenClient) -> None:
        self._both = flask, loop

    def ask(self, method: str, path: str, body: object, lines: Sequence[tuple[str, str]]) -> Answer:
        """What both answer to a request with these header lines."""
        flask, loop = (answer_of(each.ask(method, path, lines, body)) for each in self._both)
        assert flask == loop
        return flask


@pytest.fixture
def drivers(database: Database, client_of: ClientOf) -> Drivers:
    register(projection_followers(database))
    bus = bootstrap(database, inline=False)
    flask, loop = (client_of(driver, bus, database) for driver in ("flask", "loop"))
    flask.post("/lots", json=LAMPE)
    catch_up(projection_followers(database), 1)
    flask.post("/allocate", json={"id_commande": "c-1", "sku": "LAMPE", "quantité": 10})
    return Drivers(flask, loop)


def refused_fields(answer: Answer) -> list[str]:
    """The fields of a request that was refused because of them."""
    status, _, problem = answer
    assert (status, json.loads(problem)["type"]) == (422, "urn:allocation:champs-invalides")
    return [each["champ"] for each in json.loads(problem)["champs"]]


def test_un_jeton_malformé_est_refusé_de_même(drivers: Drivers) -> None:
    for read, bad in product(READS, MALFORMED):
        answer = drivers.ask(*read, [("Consistency-Token", bad), ("Prefer", "wait=30")])

        assert refused_fields(answer) == ["Consistency-Token"], bad


def test_deux_jetons_n_en_font_pas_un(drivers: Drivers) -> None:
    """Whichever of them was meant: the other would be passed over in silence."""
    for read, tokens in product(READS, [("1", "1"), ("1", "2"), ("", "1"), ("1", ""), ("é", "x")]):
        answer = drivers.ask(*read, [("Consistency-Token", token) for token in tokens])

        assert refused_fields(answer) == ["Consistency-Token"], tokens


@pytest.mark.parametrize("order", [1, -1])
def test_deux_préférences_comptent_toutes_deux(drivers: Drivers, order: int) -> None:
    preferences = [("Prefer", "wait=0"), ("Prefer", "handling=lenient")][::order]

    for read in READS:
        status, headers, _ = drivers.ask(*read, [LATE, *preferences])

        assert status == (404 if read.path == "/allocations/c-1" else 200)
        assert (headers["projection-stale"], headers["projection-position"]) == ("true", "1")


def test_d_une_préférence_donnée_deux_fois_la_première_compte(drivers: Drivers) -> None:
    status, headers, problem = drivers.ask(
        *STOCK, [LATE, ("Prefer", "wait=0"), ("Prefer", "wait=30, handling=strict")]
    )

    assert (status, json.loads(problem)["type"]) == (503, "urn:allocation:vue-en-retard")
    assert (headers["consistency-token"], headers["projection-position"]) == ("2", "1")


@pytest.mark.parametrize(
    ("languages", "answered"), [(("en", "fr;q=0.5"), "en"), (("fr;q=0.1", "en"), "en"), (("de", "fr"), "fr")]
)
def test_de_deux_langues_on_prend_la_préférée(
    drivers: Drivers, languages: tuple[str, ...], answered: str
) -> None:
    lines = [("Accept-Language", language) for language in languages]

    _, headers, _ = drivers.ask("GET", "/stock/INCONNU", None, lines)

    assert headers["content-language"] == answered


@pytest.mark.parametrize("types", [(JSON, JSON), (JSON, "text/plain"), ("text/plain", JSON)])
def test_deux_types_de_contenu_ne_font_pas_exécuter_une_commande(
    client_of: ClientOf, bus: MessageBus[Any], database: Database, types: tuple[str, ...]
) -> None:
    """On one line, as proxies join them; of two lines, the WSGI server decides what Flask gets."""
    flask, loop = (client_of(driver, bus, database) for driver in ("flask", "loop"))
    flask.post("/lots", json=LAMPE)

    two_lines = loop.ask("POST", "/allocate", [("Content-Type", each) for each in types], LINE)
    joined = [each.post("/allocate", json=LINE, content_type=", ".join(types)) for each in (flask, loop)]

    for answer in (two_lines, *joined):
        assert json.loads(answer.data)["type"] == "urn:allocation:type-de-contenu-refusé"
    assert answer_of(two_lines) == answer_of(joined[0]) == answer_of(joined[1])
    assert flask.get("/allocations/c-2").status_code == 404
