"""The app as the chapter starts it: `flask run`, with no database named."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import psutil
import pytest
from tests.conftest import find_free_port
from tests.postgresql_server import let_user_own_data
from tests.waiting import PATIENCE_S, eventually

FLASK = [sys.executable, "-m", "flask", "--app", "allocation.entrypoints.flask_app", "run"]

pytestmark = pytest.mark.embedded


@pytest.fixture
def shop() -> Iterator[httpx.Client]:
    """A client of the app, whose embedded database has just been made."""
    with TemporaryDirectory(prefix="allocation-e2e-", ignore_cleanup_errors=True) as directory:
        let_user_own_data(Path(directory))
        url = f"http://127.0.0.1:{(port := find_free_port())}"
        log = Path(directory) / "flask.log"
        with log.open("wb") as output:
            process = psutil.Popen(
                [*FLASK, "--port", str(port)],
                env=os.environ | {"ALLOCATION_DATA_DIR": directory},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            return httpx.get(f"{url}/health/live", timeout=PATIENCE_S).status_code == 200

        try:
            eventually(ready)
            with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
                yield client
        finally:
            # As Ctrl-C does: the app stops the database that it has started.
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)


def test_flask_run_sert_le_chapitre_sur_la_base_embarquée(shop: httpx.Client) -> None:
    early = {"réf": "lot-tôt", "sku": "LAMPE", "quantité": 100, "eta": "2011-01-01"}
    late = {"réf": "lot-tard", "sku": "LAMPE", "quantité": 100, "eta": "2011-01-02"}
    other = {"réf": "lot-autre", "sku": "TABLE", "quantité": 100}
    for lot in (late, early, other):
        assert shop.post("/add_batch", json=lot).status_code == 201

    for sku in ("LAMPE", "TABLE"):
        allocated = shop.post("/allocate", json={"id_commande": "c-1", "sku": sku, "quantité": 3})
        assert allocated.status_code == 201

    read = shop.get("/allocations/c-1")
    assert read.status_code == 200
    assert [(line["sku"], line["réf_lot"]) for line in read.json()] == [
        ("LAMPE", "lot-tôt"),
        ("TABLE", "lot-autre"),
    ]


def test_flask_run_refuse_comme_le_chapitre(shop: httpx.Client) -> None:
    refused = shop.post("/allocate", json={"id_commande": "c-1", "sku": "INCONNU", "quantité": 20})

    assert refused.status_code == 400
    assert "INCONNU" in refused.json()["detail"]
    assert shop.get("/allocations/c-1").status_code == 404
