"""The served program: it starts, survives the death of any of its processes, and stops in order."""

import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import psycopg
import pytest
from tests.e2e.conftest import ALLOCATION, RunAllocation, Service
from tests.waiting import PATIENCE_S, SOMEONE_WAITS_FOR_A_LOCK, eventually

from allocation.adapters.postgresql.database import Database
from allocation.domain.commands import CréerLot
from allocation.service_layer.bootstrap import bootstrap
from allocation.views.progress import progress


def recevoir(service: Service, sku: str, quantité: int = 1000) -> httpx.Response:
    body = {"réf": f"lot-{sku}"[:255], "sku": sku, "quantité": quantité}
    return httpx.post(f"{service.url}/lots", json=body)


def allouer(service: Service, sku: str, commande: str) -> httpx.Response:
    body = {"id_commande": commande, "sku": sku, "quantité": 1}
    return httpx.post(f"{service.url}/allocate", json=body, timeout=PATIENCE_S)


def test_ce_qui_est_alloué_se_lit_un_instant_plus_tard(service: Service, sku: str) -> None:
    assert recevoir(service, sku).status_code == 201
    allocated = allouer(service, sku, f"c-{sku}")

    assert allocated.status_code == 201
    eventually(lambda: httpx.get(service.url + allocated.headers["Location"]).status_code == 200)
    assert httpx.get(service.url + allocated.headers["Location"]).json() == [
        {"sku": sku, "réf_lot": f"lot-{sku}", "quantité": 1, "ligne": "1"}
    ]


@pytest.mark.parametrize("name", ["a/b", "a//b", "é🛋", "100%", "a?b#c", "x" * 255])
def test_tout_identifiant_survit_au_voyage_par_le_vrai_serveur(service: Service, name: str) -> None:
    recevoir(service, sku=name)
    allocated = allouer(service, sku=name, commande=name)

    eventually(lambda: httpx.get(service.url + allocated.headers["Location"]).status_code == 200)
    eventually(lambda: httpx.get(f"{service.url}/stock/{quote(name, safe='')}").status_code == 200)


def test_un_corps_sans_longueur_annoncée_est_mesuré_aussi(service: Service) -> None:
    def pieces() -> Any:
        yield b'{"id_commande": "c-1", "sku": "LAMPE", "quantite": 1}'
        yield from [b" " * 4096] * 16

    response = httpx.post(
        f"{service.url}/allocate", content=pieces(), headers={"Content-Type": "application/json"}
    )

    assert response.status_code == 413
    assert httpx.get(f"{service.url}/health/live").status_code == 200


def test_un_port_déjà_pris_est_dit_tout_de_suite(service: Service) -> None:
    port = service.url.rpartition(":")[2]

    second = service.run("serve", "--port", port)

    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in second.stderr


def test_l_annonce_dit_où_cliquer_et_quelles_versions_tournent(service: Service) -> None:
    eventually(lambda: "is ready" in service.log.read_text())

    announced = service.log.read_text()
    assert f"{service.url}/docs" in announced
    [[version]] = service.query("SHOW server_version")
    assert f"PostgreSQL {version}" in announced


def test_les_métriques_additionnent_tous_les_processus(own_service: Service, sku: str) -> None:
    recevoir(own_service, sku)
    with ThreadPoolExecutor(8) as clients:
        list(clients.map(lambda n: allouer(own_service, sku, f"c-{n}"), range(40)))

    line = 'allocation_http_requests_total{method="POST",route="/allocate",status="201"} 40.0'
    assert line in httpx.get(f"{own_service.url}/metrics").text


def test_sigterm_laisse_finir_la_requête_en_cours_puis_arrête_tout(own_service: Service, sku: str) -> None:
    recevoir(own_service, sku)
    processes = own_service.process.children(recursive=True)
    with (
        psycopg.connect(own_service.database_url) as holder,
        ThreadPoolExecutor(1) as client,
    ):
        holder.execute("SELECT * FROM produits FOR UPDATE")
        request = client.submit(allouer, own_service, sku, "c-1")
        eventually(lambda: own_service.query(SOMEONE_WAITS_FOR_A_LOCK))
        own_service.process.send_signal(signal.SIGTERM)
        eventually(lambda: _refuses_connections(own_service))
        holder.rollback()

        assert request.result().status_code == 201
    assert own_service.process.wait(PATIENCE_S) == 0
    _gone, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == []


@pytest.mark.embedded
def test_sigterm_arrête_aussi_la_base_embarquée(own_service: Service) -> None:
    assert own_service.stop() == 0

    assert not (own_service.data_dir / "postgresql" / "postmaster.pid").exists()


def test_après_ctrl_c_et_un_redémarrage_tout_est_encore_là(own_service: Service, sku: str) -> None:
    recevoir(own_service, sku)
    allouer(own_service, sku, "c-1")

    assert own_service.stop(signal.SIGINT) == 0
    own_service.start()

    assert allouer(own_service, sku, "c-1").status_code == 200
    assert own_service.run("verify").returncode == 0


def test_chaque_processus_tué_est_remplacé(own_service: Service, sku: str) -> None:
    """The API's parent, one of its workers, and the projection worker, one by one."""
    recevoir(own_service, sku)
    api = _api(own_service)
    [projections] = [child for child in _children(own_service.process) if child != api]
    orphans = api.children()[:1]

    for n, victim in enumerate([api.children()[-1], projections, api]):
        victim.kill()
        psutil.wait_procs([victim], timeout=PATIENCE_S)
        eventually(partial(_serves, own_service, sku, f"c-{n}"))

    _gone, alive = psutil.wait_procs(orphans, timeout=PATIENCE_S)
    assert alive == []
    assert [allouer(own_service, sku, f"c-{n}").status_code for n in range(3)] == [200] * 3
    assert own_service.run("verify").returncode == 0


@pytest.mark.embedded
def test_la_base_embarquée_tuée_est_relancée(own_service: Service, sku: str) -> None:
    recevoir(own_service, sku)
    allouer(own_service, sku, "c-1")

    psutil.Process(own_service.postmaster_pid).kill()
    eventually(partial(_serves, own_service, sku, "c-2"))

    assert [allouer(own_service, sku, f"c-{n}").status_code for n in (1, 2)] == [200] * 2
    assert own_service.run("verify").returncode == 0


def test_un_sigterm_à_un_processus_relancé_n_arrête_que_lui(own_service: Service, sku: str) -> None:
    """What is forked while the supervisor runs must not share its way of being stopped."""
    recevoir(own_service, sku)

    for n in range(2):
        api = _api(own_service)
        api.terminate()
        psutil.wait_procs([api], timeout=PATIENCE_S)
        eventually(partial(_serves, own_service, sku, f"c-{n}"))

    assert own_service.stop() == 0


def test_si_le_superviseur_est_tué_rien_ne_lui_survit_et_il_se_relance(own_service: Service) -> None:
    processes = own_service.process.children(recursive=True)
    own_service.process.kill()
    own_service.process.wait(PATIENCE_S)

    _gone, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)

    assert alive == []
    own_service.start()


def test_le_worker_seul_tient_les_vues_à_jour(database_url: str, allocation: RunAllocation) -> None:
    """Without `serve`: a worker on the configured database."""
    environment = os.environ | {"ALLOCATION_DATABASE_URL": database_url}
    with subprocess.Popen([ALLOCATION, "worker"], env=environment) as worker:
        stopper = threading.Timer(PATIENCE_S, worker.kill)
        stopper.start()
        with Database(database_url) as database:
            eventually(lambda: _has_readers(database))
            position = bootstrap(database, inline=False).handle(CréerLot("lot-1", "LAMPE", 1)).position
            eventually(lambda: {reader.position for reader in progress(database)} == {position})
        worker.terminate()
        assert worker.wait(PATIENCE_S) == 0
        stopper.cancel()


def _children(process: psutil.Process) -> list[psutil.Process]:
    """The processes that the supervisor started, without Python's own helper, if it has one."""
    return [child for child in process.children() if "resource_tracker" not in " ".join(child.cmdline())]


def _api(service: Service) -> psutil.Process:
    """The API's parent: the one among the supervisor's children that has children of its own."""
    return max(_children(service.process), key=lambda child: len(child.children()))


def _serves(service: Service, sku: str, commande: str) -> bool:
    if allouer(service, sku, commande).status_code not in {200, 201}:
        return False
    return httpx.get(f"{service.url}/allocations/{commande}").status_code == 200


def _has_readers(database: Database) -> bool:
    return bool(progress(database))


def _refuses_connections(service: Service) -> bool:
    try:
        httpx.get(f"{service.url}/health/live", timeout=1)
    except httpx.TransportError:
        return True
    return False
