"""The commands of the README and of the tutorial, run as printed, print what is shown."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.e2e.conftest import Service, running_service

PROJECT = Path(__file__).parents[2]
ADDRESS = "http://127.0.0.1:8000"


def sessions(document: str) -> Iterator[tuple[str, str]]:
    """Each command of the document's console blocks, with what is printed below it."""
    text = (PROJECT / document).read_text(encoding="utf-8")
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        starts = [match.start() for match in re.finditer(r"^\$ ", block, re.MULTILINE)]
        for start, end in pairwise([*starts, len(block)]):
            command, _, printed = re.sub(r"\\\n\s*", "", block[start + 2 : end]).partition("\n")
            yield command, printed


@pytest.mark.parametrize(("document", "least"), [("README.md", 3), ("docs/tutorial.md", 13)])
def test_chaque_commande_imprime_ce_que_la_page_montre(document: str, least: int, tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    commands = list(sessions(document))
    assert len(commands) >= least

    with running_service() as service:
        for command, printed in commands:
            if command.startswith(f"curl -s {ADDRESS}/allocations"):
                service.wait_until_caught_up()
            assert _same_rate(_run(command, service, tmp_path)) == _same_rate(printed), command


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
