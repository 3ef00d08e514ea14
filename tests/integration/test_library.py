"""The page on using the program from Python, run as it is printed."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.documents import DOCS, snippets

PAGE = snippets(DOCS / "library.md")


@pytest.mark.embedded
def test_le_premier_programme_imprime_ce_que_la_page_montre_et_le_répète(place: Path) -> None:
    program, shown = PAGE["python"][0], PAGE["text"][0]

    printed = [_run([sys.executable, "-c", program], place) for _ in range(2)]

    assert printed == [shown, shown]


def test_le_test_que_la_page_montre_passe(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(PAGE["python"][1], "utf-8")

    printed = _run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"], tmp_path)

    assert "1 passed" in printed


def _run(command: list[str], folder: Path) -> str:
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout
