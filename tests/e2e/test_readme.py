"""The README's commands, run as printed, give what is printed."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.e2e.conftest import Service, running_service

from allocation.adapters.configuration import Settings

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"


def sessions() -> Iterator[tuple[str, str]]:
    """Each command of the console blocks, with what is printed below it."""
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        starts = [match.start() for match in re.finditer(r"^\$ ", block, re.MULTILINE)]
        for start, end in pairwise([*starts, len(block)]):
            command, _, printed = re.sub(r"\\\n\s*", "", block[start + 2 : end]).partition("\n")
            yield command, printed


def test_chaque_commande_imprime_ce_que_le_readme_montre(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    commands = list(sessions())
    assert len(commands) >= 10

    with running_service() as service:
        for command, printed in commands:
            if command.startswith(f"curl -s {ADDRESS}/allocations"):
                service.wait_until_caught_up()
            assert _same_rate(_run(command, service, tmp_path)) == _same_rate(printed), command


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_chaque_fichier_nommé_existe(document: str) -> None:
    text = (PROJECT / document).read_text(encoding="utf-8")

    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (PROJECT / link).exists(), link


def test_le_readme_nomme_chaque_variable_de_configuration() -> None:
    for name in Settings.model_fields:
        assert f"ALLOCATION_{name.upper()}" in README


def _same_rate(printed: str) -> str:
    """How fast an import was is not promised."""
    return re.sub(r'"lines/s": [1-9]\d*', '"lines/s": N', printed)


def _run(command: str, service: Service, folder: Path) -> str:
    finished = subprocess.run(
        ["bash", "-c", command.replace(ADDRESS, service.url)],
        cwd=folder,
        env=os.environ | service.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return finished.stdout
