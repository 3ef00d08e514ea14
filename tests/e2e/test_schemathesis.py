"""The served program against its own OpenAPI document: no 5xx, and no answer that it does not announce."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.conftest import Service

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(params=["event loop", "Flask"])
def url(request: pytest.FixtureRequest) -> str:
    """Where the program is served by one of its drivers."""
    if request.param == "Flask":
        return str(request.getfixturevalue("flask_shop").base_url).rstrip("/")
    service: Service = request.getfixturevalue("service")
    return service.url


def test_au_hasard_on_ne_reçoit_que_des_réponses_annoncées(url: str, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("schemathesis"))
    options = ["--max-examples", "60", f"{url}/openapi.json"]

    finished = subprocess.run(
        [program, "--config-file", str(CONFIGURATION), "run", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stdout
    assert "No issues found" in finished.stdout
