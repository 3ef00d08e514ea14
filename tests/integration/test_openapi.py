"""The OpenAPI document: valid, complete, and its examples work when they are sent as printed."""

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import validate
from tests.loop_client import NewClient
from werkzeug.test import Client

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.entrypoints.flask_app import create_app
from allocation.service_layer.messagebus import MessageBus

UNDOCUMENTED = {"openapi", "docs", "swagger.swagger", "swagger.oauth2-redirect", "swagger.static"}


@pytest.fixture
def client(bus: MessageBus[PostgreSQLUnitOfWork], database: Database, new_client: NewClient) -> Client:
    return new_client(bus, database)


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    document = client.get("/openapi.json").json
    assert isinstance(document, dict)
    return document


def test_le_document_est_de_l_openapi_3_1_valide(document: dict[str, Any]) -> None:
    validate(document)

    assert document["openapi"].startswith("3.1.")


def test_chaque_route_servie_y_est(
    bus: MessageBus[PostgreSQLUnitOfWork], database: Database, document: dict[str, Any]
) -> None:
    documented = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    served = {
        rule.endpoint.replace("<identifier:", "{").replace(">", "}")
        for rule in create_app(bus, database).url_map.iter_rules()
        if rule.endpoint not in UNDOCUMENTED
    }

    assert documented == served
    assert "POST /allocate" in documented


def test_chaque_opération_dit_ce_qu_elle_fait_et_ce_qu_elle_refuse(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
            for status, response in operation["responses"].items():
                if status.startswith("4"):
                    assert "application/problem+json" in response["content"], (method, path, status)

    refused = set(document["paths"]["/allocate"]["post"]["responses"])
    assert refused == {"200", "201", "400", "408", "409", "413", "415", "422", "503"}


def test_les_jetons_sont_annoncés_où_ils_sont_donnés_et_où_ils_sont_pris(document: dict[str, Any]) -> None:
    operations = [
        (method, operation) for item in document["paths"].values() for method, operation in item.items()
    ]
    giving = {
        (operation["operationId"], status)
        for _, operation in operations
        for status, response in operation["responses"].items()
        if "Consistency-Token" in response.get("headers", {})
    }
    taking = {
        operation["operationId"]
        for _, operation in operations
        if {"Consistency-Token", "Prefer"} <= {each["name"] for each in operation.get("parameters", ())}
    }

    assert giving == {
        *(("post_allocate", status) for status in ("200", "201", "409")),
        *((f"post_{path}", status) for path in ("lots", "add_batch") for status in ("200", "201")),
        ("patch_lots_ref", "200"),
    }
    assert taking == {
        *("get_allocations_id_commande", "get_allocations_id_commande_histoire"),
        *("get_stock_sku", "get_stock_sku_histoire", "get_stock", "get_lots_ref"),
        "post_disponibilités",
    }
    read = document["paths"]["/allocations/{id_commande}"]["get"]["responses"]
    assert {"Projection-Position", "Served-By"} <= set(read["200"]["headers"]) & set(read["404"]["headers"])
    assert "Projection-Position" in read["503"]["headers"]


def test_les_exemples_de_requêtes_réussissent_tels_quels(client: Client, document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    [lot], [allocation], [correction], [asked] = (
        schemas[name]["examples"]
        for name in ("DemandeLot", "DemandeAllocation", "DemandeCorrection", "DemandeDisponibilites")
    )

    received = client.post("/lots", json=lot)
    allocated = client.post("/allocate", json=allocation)
    corrected = client.patch(f"/lots/{lot['réf']}", json=correction)

    assert (received.status_code, allocated.status_code, corrected.status_code) == (201, 201, 200)
    assert allocated.get_json() == _example(schemas["LotDeLaLigne"])
    [row] = client.get(f"/allocations/{allocation['id_commande']}").get_json()
    assert row == _example(schemas["AllocationVue"])
    available = client.post("/disponibilités", json=asked)
    assert available.status_code == 200
    assert json.loads(available.data)["inconnus"] == ["CHAISE"]


def test_la_documentation_n_appelle_aucun_serveur_du_dehors(client: Client) -> None:
    page = client.get("/docs")

    assert page.status_code == 200
    assert "/openapi.json" in page.text
    assert "http://" not in page.text
    assert "https://" not in page.text
    for asset in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        with client.get(f"/{asset}") as response:
            assert response.status_code == 200, asset


def _example(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: field["examples"][0] for name, field in schema["properties"].items()}
