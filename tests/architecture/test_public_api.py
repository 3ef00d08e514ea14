"""What users may import is what docs/library.md says, and the documentation imports nothing else."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.documents import DOCS, snippets

import allocation
from allocation.domain import commands, errors, events

EXAMPLES = DOCS.parent / "tests" / "integration" / "test_public_api.py"
ROOMS = re.findall(r"^\| `(allocation[\w.]*)` \|", (DOCS / "library.md").read_text("utf-8"), re.MULTILINE)
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "decisions" not in page.parts]

CHAPTER = {
    "allocation.domain.commands": ["Allouer"],
    "allocation.domain.events": ["Event", "Alloué", "Désalloué", "RuptureDeStock"],
    "allocation.domain.model": ["Produit", "Lot", "LigneDeCommande"],
    "allocation.service_layer.handlers": [
        "allouer",
        "réallouer",
        "publier_événement_allocation",
        "ajouter_allocation_vue",
        "supprimer_allocation_vue",
        "envoyer_notification_rupture_stock",
    ],
    "allocation.service_layer.bootstrap": ["EVENT_HANDLERS"],
    "allocation.service_layer.unit_of_work": ["AbstractUnitOfWork"],
    "allocation.adapters.orm": ["allocations_view"],
    "allocation.views.views": ["allocations"],
}


def test_la_page_nomme_les_pièces_publiques() -> None:
    assert len(ROOMS) > 10
    assert len(set(ROOMS)) == len(ROOMS) > 10


@pytest.mark.parametrize("room", ROOMS)
def test_une_pièce_publique_dit_ce_qu_elle_montre(room: str) -> None:
    module = importlib.import_module(room)

    defined = vars(module).keys() | vars(module).get("__annotations__", {}).keys()
    assert set(module.__all__) <= defined


@pytest.mark.parametrize(
    ("module", "root"),
    [(commands, commands.Command), (events, events.Event), (errors, errors.Refus)],
    ids=["commands", "events", "errors"],
)
def test_toute_commande_tout_événement_et_tout_refus_sont_publics(module: object, root: type) -> None:
    for each in vars(module).values():
        if isinstance(each, type) and issubclass(each, root):
            assert each.__name__ in module.__all__  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_la_documentation_n_importe_que_ce_qui_est_public(page: Path) -> None:
    for code in snippets(page).get("python", ()):
        for module, name in _imported(code):
            assert _is_public(module, name), f"{module}.{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_la_documentation_ne_nomme_que_ce_qui_est_public(page: Path) -> None:
    for dotted in re.findall(r"`(allocation(?:\.\w+)+)`", page.read_text("utf-8")):
        module, _, name = dotted.rpartition(".")
        assert dotted in ROOMS or _is_public(module, name) or name in CHAPTER.get(module, ()), dotted


def test_chaque_nom_public_a_un_exemple_dont_les_types_sont_vérifiés() -> None:
    shown = {name for _, name in _imported(EXAMPLES.read_text("utf-8"))}

    for room in ROOMS:
        missing = set(importlib.import_module(room).__all__) - shown
        assert not missing, f"{room}: {missing}"


@pytest.mark.parametrize(("module", "names"), CHAPTER.items())
def test_les_noms_du_chapitre_s_importent_où_il_les_a(module: str, names: list[str]) -> None:
    found = vars(importlib.import_module(module))

    assert [name for name in names if name not in found] == []


def _is_public(module: str, name: str) -> bool:
    """Whether `from module import name` gives a public name, or a public module."""
    return f"{module}.{name}" in ROOMS or (
        module in ROOMS and name in importlib.import_module(module).__all__
    )


def _imported(code: str) -> Iterator[tuple[str, str]]:
    """What the code imports of our own: from which module which name."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == allocation.__name__:
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                assert alias.name.split(".")[0] != allocation.__name__, "it is imported by name"
