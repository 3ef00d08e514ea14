"""The recipes of CONTRIBUTING.md, followed to the letter in a copy of the tree, one on top of the other."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).parents[2]
CONTRIBUTING = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")

DECLARATIONS = "tests/architecture/test_declarations.py"
CHECKS = {
    "Add a command": [DECLARATIONS, "tests/unit/test_rebut.py"],
    "Add an event": [DECLARATIONS, "tests/unit/test_serialization.py", "tests/unit/test_lot_épuisé.py"],
    "Add a view": ["tests/integration/test_refus_view.py"],
    "Add a route": ["tests/integration/test_openapi.py", "tests/integration/test_http_refus.py"],
}


class Change(NamedTuple):
    """What one file is to have in place of what it has; of a new file, `before` is empty."""

    file: Path
    before: str
    after: str


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The program and its tests, in a folder of this test's own."""
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("src", "tests"):
        shutil.copytree(PROJECT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    return tmp_path


def test_chaque_recette_a_de_quoi_la_vérifier() -> None:
    assert re.findall(r"^### (.*)$", CONTRIBUTING, re.MULTILINE) == list(CHECKS)


@pytest.mark.parametrize("recipe", CHECKS)
def test_qui_suit_la_recette_a_ce_qu_elle_promet(recipe: str, copy: Path) -> None:
    for each in list(CHECKS)[: list(CHECKS).index(recipe) + 1]:
        _follow(each, copy)

    _run(copy, "pytest", "-q", "--no-cov", "-p", "no:cacheprovider", *CHECKS[recipe])


def test_ce_qu_elles_font_écrire_passe_les_vérificateurs(copy: Path) -> None:
    for recipe in CHECKS:
        _follow(recipe, copy)

    _run(copy, "ruff", "check", "src", "tests")
    _run(copy, "ruff", "format", "--check", "src", "tests")
    _run(copy, "mypy", "src", *{test for tests in CHECKS.values() for test in tests})


def _follow(recipe: str, copy: Path) -> None:
    [section] = re.findall(rf"^### {recipe}\n(.*?)(?=^##)", CONTRIBUTING, re.MULTILINE | re.DOTALL)
    [diff] = re.findall(r"```diff\n(.*?)```", section, re.DOTALL)
    for change in _changes(diff):
        path = copy / change.file
        if not change.before:
            assert not path.exists(), path
            path.write_text(change.after, encoding="utf-8")
            continue
        text = path.read_text(encoding="utf-8")
        assert text.count(change.before) == 1, f"{change.file}: {change.before}"
        path.write_text(text.replace(change.before, change.after), encoding="utf-8")


def _changes(diff: str) -> list[Change]:
    changes = []
    for of_file in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        file, _, hunks = of_file.partition("\n")
        for hunk in re.split(r"^@@\n", hunks, flags=re.MULTILINE):
            before, after = (
                "".join(f"{line[1:]}\n" for line in hunk.splitlines() if line[:1] != left_out)
                for left_out in ("+", "-")
            )
            changes.append(Change(Path(file), before, after))
    return changes


def _run(copy: Path, module: str, *arguments: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(copy / "src"), str(copy)])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stdout
