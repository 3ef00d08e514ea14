"""The served program against its own OpenAPI document: no 5xx, and no answer that it does not announce."""

import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import Service

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")


def test_au_hasard_on_ne_reçoit_que_des_réponses_annoncées(service: Service, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("schemathesis"))
    options = ["--max-examples", "60", f"{service.url}/openapi.json"]

    finished = subprocess.run(
        [program, "--config-file", str(CONFIGURATION), "run", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stdout
    assert "No issues found" in finished.stdout
