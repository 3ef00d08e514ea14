"""The pages of the documentation lead somewhere, are found from the index, and name every setting."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from allocation.adapters.configuration import Settings

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PAGES = sorted(str(page.relative_to(PROJECT)) for page in [*PROJECT.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]+))?\)")


@pytest.mark.parametrize("page", PAGES)
def test_chaque_lien_mène_à_un_fichier_et_à_un_titre_qui_existent(page: str) -> None:
    for file, anchor in LINK.findall(_text(PROJECT / page)):
        target = (PROJECT / page).parent / unquote(file) if file else PROJECT / page
        assert target.exists(), file
        assert not anchor or anchor in _anchors(target), f"{file}#{anchor}"


def test_chaque_page_se_trouve_dans_la_table_des_matières() -> None:
    index = DOCS / "README.md"
    listed = {(DOCS / file).resolve() for file, _ in LINK.findall(_text(index)) if file}

    unlisted = {page for page in DOCS.rglob("*.md") if page != index and not listed & {page, *page.parents}}

    assert unlisted == set()


def test_la_table_des_matières_va_du_tutoriel_aux_explications() -> None:
    titles = re.findall(r"^## (.*)$", _text(DOCS / "README.md"), re.MULTILINE)

    assert titles == ["Tutorial", "How-to guides", "Reference", "Explanation"]


def test_la_page_de_configuration_nomme_chaque_variable_et_nulle_autre() -> None:
    named = set(re.findall(r"`(ALLOCATION_\w+)`", _text(DOCS / "reference" / "configuration.md")))

    assert named == {f"ALLOCATION_{name.upper()}" for name in Settings.model_fields}


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the titles of a page."""
    titles = re.findall(r"^#+ (.*)$", _text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
