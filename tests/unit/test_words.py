"""What clients are told: every sentence in French and in English."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from tests.requests import request_with

from allocation.domain.errors import (
    LigneModifiée,
    LotExistant,
    LotInconnu,
    RéférenceAmbiguë,
    SkuInconnu,
    StockInsuffisant,
    ValeurInvalide,
)
from allocation.domain.model import Lot, Produit
from allocation.domain.values import identifiant, vérifier_quantité
from allocation.entrypoints import http as http_room
from allocation.entrypoints.http import words
from allocation.entrypoints.http.errors import HTTP_PROBLEMS, PROBLEMS
from allocation.entrypoints.http.history import DemandeHistoire, DemandeInstant
from allocation.entrypoints.http.problems import refused
from allocation.entrypoints.http.refusals import ChampsInvalides, Introuvable, JsonMalformé
from allocation.entrypoints.http.schemas.allocations import DemandeAllocation
from allocation.entrypoints.http.schemas.fields import Demande
from allocation.entrypoints.http.schemas.freshness import DemandeDeLecture
from allocation.entrypoints.http.schemas.lots import DemandeCorrection, DemandeLot, DemandeSku
from allocation.entrypoints.http.schemas.read_models import DemandeReconstruction
from allocation.entrypoints.http.schemas.stock import DemandeDisponibilites, DemandePage
from allocation.entrypoints.http.words import Words, wanted_language
from allocation.views.instants import InstantFutur, JournalEnAvance
from allocation.views.past_view import HistoireArchivée
from allocation.views.staleness import ProjectionPaused, ViewLate

HIER, DEMAIN = datetime(2027, 1, 30, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)

ERRORS: list[tuple[Exception, str]] = [
    (JsonMalformé("EOF at line 1 column 0"), "The body is not JSON in UTF-8: EOF at line 1 column 0"),
    (SkuInconnu("LAMPE"), "Unknown SKU: LAMPE"),
    (LotInconnu("lot-1"), "Unknown lot: lot-1"),
    (LotExistant("lot-{0}", "LAMPE"), "Another lot of the SKU LAMPE has this reference already: lot-{0}"),
    (
        RéférenceAmbiguë("lot-1", {"LAMPE", "TABLE"}),
        "Lots of several SKUs have this reference, name the SKU: lot-1",
    ),
    (Introuvable(Words("Rien", "Nothing {here}")), "Nothing {here}"),
    (
        StockInsuffisant(
            id_commande="c-1", sku="LAMPE", ligne="1", quantité_demandée=3, quantité_disponible=2
        ),
        "Out of stock: 3 units of LAMPE are asked for, the roomiest lot has 2",
    ),
    (
        LigneModifiée(id_commande="c-1", sku="LAMPE", ligne="1", quantité_connue=1, quantité_demandée=2),
        "Line 1 of order c-1 for LAMPE is known with quantity 1, not 2",
    ),
    (
        HistoireArchivée(datetime(2027, 1, 31, tzinfo=UTC)),
        "The journal up to 2027-01-31 00:00:00+00:00 is archived; the state before that is no longer known",
    ),
    (
        InstantFutur(DEMAIN, HIER),
        "2027-02-01 00:00:00+00:00 is to come: the clock of the database is at 2027-01-30 00:00:00+00:00",
    ),
    (
        JournalEnAvance(HIER, HIER, DEMAIN),
        "The clock of the database, at 2027-01-30 00:00:00+00:00, was put back: what follows is dated "
        "2027-02-01 00:00:00+00:00 or later, and until then what was at 2027-01-30 00:00:00+00:00 can't be "
        "told; the present is read without an instant",
    ),
    (ChampsInvalides([("sku", words.REPEATED)]), "sku: this field is given more than once"),
    (
        ViewLate(projection="stock_view", position=1, position_attendue=2),
        "View behind: stock_view is at position 1, 2 is expected",
    ),
    (
        ProjectionPaused(projection="stock_view", position=1, position_attendue=2, raison="x"),
        "Projection paused (x): stock_view is at position 1, 2 is expected",
    ),
]


@pytest.mark.parametrize(("error", "english"), ERRORS)
def test_un_refus_se_dit_en_français_et_à_qui_le_demande_en_anglais(error: Exception, english: str) -> None:
    problem = PROBLEMS[type(error)]

    french, in_english = (_answered(error, language) for language in ("fr", "en"))

    assert in_english["detail"] == english
    assert french["detail"] != english
    assert (french["type"], french["status"]) == (in_english["type"], in_english["status"])
    assert in_english["title"] == problem.title.en


@pytest.mark.parametrize("problem", [*PROBLEMS.values(), *HTTP_PROBLEMS.values()])
def test_tout_titre_existe_dans_les_deux_langues(problem: Any) -> None:
    assert problem.title.fr != problem.title.en
    assert problem.detail.fr
    assert problem.detail.en


def _refusals_of_the_domain() -> list[ValeurInvalide]:
    bad = ["", "x" * 256, "a\n", "a\u200b", "\U0001f6cb" * 192, "..", 3]
    attempts: list[Callable[[], object]] = [partial(identifiant, "sku", value) for value in bad]
    attempts += [partial(vérifier_quantité, "quantité", value) for value in ("1", -1)]
    attempts.append(lambda: Produit("LAMPE").ajouter_lot(Lot("lot-1", "TABLE", 1)))
    refusals = []
    for attempt in attempts:
        with pytest.raises(ValeurInvalide) as raised:
            attempt()
        refusals.append(raised.value)
    return refusals


@pytest.mark.parametrize("refusal", _refusals_of_the_domain(), ids=str)
def test_toute_raison_du_domaine_a_ses_mots_anglais(refusal: ValeurInvalide) -> None:
    told = words.reason_of(refusal)

    assert told.fr == refusal.raison
    assert told.en != told.fr
    assert "{" not in told.en
    assert _answered(refusal, "en")["detail"] == f"{refusal.champ}: {told.en}"
    assert _answered(refusal, "fr")["raison"] == refusal.raison


BAD_VALUES: list[Any] = [
    *(None, "", "x" * 300, "a\n", "\u200b", 3, -1, 10**30, 1.5, True, [], {}),
    *(["LAMPE", 3], ["LAMPE"] * 1000, [""], [None]),
    *("2027-02-30", "2027-01-31T10:00:00", "demain", date(2027, 1, 31), "+5"),
]


REQUESTS: dict[type[BaseModel], dict[str, Any]] = {
    DemandeAllocation: {"id_commande": "c-1", "sku": "LAMPE", "quantité": 1},
    DemandeLot: {"réf": "lot-1", "sku": "LAMPE", "quantité": 1, "eta": None},
    DemandeCorrection: {"quantité": 1},
    DemandeDisponibilites: {"skus": ["LAMPE"]},
    DemandeReconstruction: {"source": "model", "débit_max": 1},
    DemandePage: {"after": "", "limit": "1"},
    DemandeHistoire: {"after": "1", "limit": "1"},
    DemandeInstant: {"at": "2027-01-31T10:00:00+01:00"},
    DemandeDeLecture: {"Consistency-Token": "1", "Prefer": "wait=1"},
}
# Takes any text, which the domain then judges.
JUDGED_BY_THE_DOMAIN = {DemandeSku}


def test_toute_demande_est_essayée_ici() -> None:
    known, todo = set(), [BaseModel]
    while todo:
        known |= (subclasses := set(todo.pop().__subclasses__()))
        todo += subclasses
    http = {each for each in known if each.__module__.startswith(http_room.__name__)}
    assert {each for each in http if each.__name__.startswith("Demande")} == {
        Demande,
        *REQUESTS,
        *JUDGED_BY_THE_DOMAIN,
    }


@pytest.mark.parametrize(("model", "sound"), REQUESTS.items())
def test_aucune_phrase_de_pydantic_ne_sort(model: type[BaseModel], sound: dict[str, Any]) -> None:
    model.model_validate(sound)
    in_text = not issubclass(model, Demande)
    bad_values = [bad for bad in BAD_VALUES if isinstance(bad, str) or not in_text]
    requests: list[Any] = [{**sound, name: bad} for name in [*sound, "inconnu"] for bad in bad_values]
    requests += [{}] if in_text else [[], "texte", 3, None, {}]
    told = set()
    for each in requests:
        try:
            model.model_validate(each)
        except ValidationError as error:
            for details in error.errors():
                assert details["type"] == "identifiant" or details["type"] in words._OF_PYDANTIC, details
                reason = words.reason_in(details)
                assert reason.en != reason.fr
                assert "{" not in reason.fr + reason.en
                told.add(reason)
    assert told


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "fr"),
        ("fr", "fr"),
        ("en", "en"),
        ("en-GB,en;q=0.9", "en"),
        ("fr-CH, fr;q=0.9, en;q=0.8, *;q=0.5", "fr"),
        ("de, en;q=0.5", "en"),
        ("de", "fr"),
        ("*", "fr"),
        ("en;q=0", "fr"),
        ("en," * 20_000, "fr"),
        ("en;q=" + "9" * 200, "fr"),
    ],
)
def test_la_langue_voulue_est_lue_et_le_français_est_la_première(header: str, language: str) -> None:
    assert wanted_language(header) == language


def _answered(error: Exception, language: str) -> dict[str, Any]:
    response = refused(request_with({"accept-language": language}), error)
    assert response.headers["Content-Language"] == language
    assert response.headers["Vary"] == "Accept-Language"
    document: dict[str, Any] = json.loads(response.body)
    return document
