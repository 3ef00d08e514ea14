"""The served program and its machine: the port, what is tidied up, and a database that does not come back."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
from tests.conftest import find_free_port
from tests.e2e.conftest import ALLOCATION, Service, running_service
from tests.postgresql_server import kill_all
from tests.waiting import PATIENCE_S, eventually


def start(data_dir: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    environment = os.environ | {"ALLOCATION_DATA_DIR": str(data_dir), "COLUMNS": "200"} | variables
    command = [ALLOCATION, "serve", "--workers", "1", *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def children_of(service: Service) -> dict[int, psutil.Process]:
    return {child.pid: child for child in service.process.children()}


@pytest.mark.embedded
def test_de_deux_services_lancés_ensemble_sur_un_port_un_seul_l_a(tmp_path: Path, free_port: int) -> None:
    _open(tmp_path)
    both = [start(tmp_path / name, "--port", str(free_port)) for name in ("first", "second")]
    try:
        eventually(lambda: any(each.poll() is not None for each in both))
        [refused] = [each for each in both if each.poll() is not None]
        [serving] = [each for each in both if each is not refused]
        url = f"http://127.0.0.1:{free_port}/health/ready"
        eventually(lambda: _status_of(url) == 200)
    finally:
        for each in both:
            each.terminate()
        outputs = {each.pid: each.communicate(timeout=PATIENCE_S) for each in both}

    assert (refused.returncode, serving.returncode) == (1, 0)
    assert outputs[refused.pid][1].splitlines() == [
        f"error: cannot listen on 127.0.0.1:{free_port}: Address already in use. "
        "Another port: allocation serve --port N"
    ]


@pytest.mark.parametrize(("host", "shown"), [("localhost", "localhost"), ("::1", "[::1]")])
def test_il_écoute_sur_un_nom_ou_une_adresse_ipv6(
    host: str, shown: str, database_url: str, tmp_path: Path, free_port: int
) -> None:
    running = start(tmp_path, "--host", host, "--port", str(free_port), ALLOCATION_DATABASE_URL=database_url)
    url = f"http://{shown}:{free_port}"
    try:
        eventually(lambda: _status_of(f"{url}/health/ready") == 200)
        assert running.stdout is not None
        assert running.stdout.readline().endswith(f"is ready: {url}/docs\n")
    finally:
        running.terminate()
        running.communicate(timeout=PATIENCE_S)

    assert running.returncode == 0


@pytest.mark.embedded
def test_tant_que_la_base_ne_redémarre_pas_le_superviseur_entend_et_remplace(own_service: Service) -> None:
    control = own_service.data_dir / "postgresql" / "global" / "pg_control"
    control.rename(control.with_name("away"))
    kill_all(psutil.Process(own_service.postmaster_pid))
    eventually(lambda: "is started again" in own_service.log.read_text())
    before = children_of(own_service)
    kill_all(*before.values())

    eventually(lambda: len(children_of(own_service).keys() - before.keys()) == len(before))
    control.with_name("away").rename(control)
    own_service.wait_until_ready()
    control.rename(control.with_name("away"))
    kill_all(psutil.Process(own_service.postmaster_pid))

    assert own_service.stop() == 0


@pytest.mark.embedded
def test_tué_pendant_la_création_de_la_base_il_repart(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    _open(tmp_path)
    port = str(find_free_port())
    first = start(data_dir, "--port", port)
    eventually(lambda: list(data_dir.glob("postgresql.new-*/base/1/*")))
    kill_all(psutil.Process(first.pid))
    first.communicate()
    assert not (data_dir / "postgresql").exists()

    second = start(data_dir, "--port", port)
    eventually(lambda: _status_of(f"http://127.0.0.1:{port}/health/ready") == 200)
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=PATIENCE_S)

    assert second.returncode == 0
    assert list(data_dir.glob("postgresql.new-*")) == []


@pytest.mark.embedded
def test_la_base_embarquée_a_les_connexions_qu_il_faut_aux_processus() -> None:
    with running_service("--workers", "1", ALLOCATION_POOL_SIZE="60") as service:
        [[connections]] = service.query("SHOW max_connections")

    assert int(connections) >= 3 * 60 + 50


def test_sans_son_dossier_de_mesures_il_sert_et_remplace_encore(own_service: Service) -> None:
    [metrics] = own_service.data_dir.glob("allocation-metrics-*")
    shutil.rmtree(metrics)
    eventually(metrics.exists)
    kill_all(*children_of(own_service).values())

    own_service.wait_until_ready()
    eventually(lambda: _status_of(f"{own_service.url}/metrics") == 200)
    assert own_service.stop() == 0
    assert not metrics.exists()


def test_un_dossier_inutilisable_est_dit_en_une_phrase(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    refused = start(tmp_path / "file" / "data", "--port", str(find_free_port()))
    out, err = refused.communicate(timeout=PATIENCE_S)

    assert (refused.returncode, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "can't be used: Not a directory" in err


def test_la_version_est_dite() -> None:
    said = subprocess.run([ALLOCATION, "--version"], capture_output=True, text=True, check=True)

    assert said.stdout.startswith("allocation 0.")


def _open(directory: Path) -> None:
    """Let everybody through to it: pytest keeps its folders closed, and so root's server out of them."""
    for folder in (directory, *directory.parents[:2]):
        folder.chmod(0o755)


def _status_of(url: str) -> int | None:
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.TransportError:
        return None
