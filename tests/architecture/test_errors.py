"""All exceptions of the program have one root, and the documentation draws their tree as it is."""

from collections.abc import Iterator

from tests.declared import declared_below
from tests.documents import DOCS, snippets

from allocation.domain.errors import AllocationError

DECLARED = declared_below(BaseException)
DRAWN = DOCS / "reference" / "errors.md"


def test_toute_exception_du_programme_descend_d_une_seule_racine() -> None:
    assert {each for each in DECLARED if not issubclass(each, AllocationError)} == set()


def test_l_arbre_des_exceptions_est_dessiné_tel_qu_il_est() -> None:
    [drawn] = snippets(DRAWN)["text"]

    assert drawn.splitlines() == [_described(AllocationError), *_branches(AllocationError, "")]


def _branches(root: type[BaseException], indent: str) -> Iterator[str]:
    children = sorted(
        (each for each in DECLARED if root in each.__bases__ and not each.__name__.startswith("_")),
        key=lambda each: each.__name__,
    )
    for child in children:
        last = child is children[-1]
        yield f"{indent}{'└──' if last else '├──'} {_described(child)}"
        yield from _branches(child, indent + ("    " if last else "│   "))


def _described(each: type[BaseException]) -> str:
    """Its name, and the first line of what is said of it."""
    first_line = (each.__doc__ or "").strip().partition("\n")[0]
    return f"{each.__name__}: {first_line}"
