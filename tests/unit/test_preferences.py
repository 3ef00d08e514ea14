"""How the Prefer header is read (RFC 7240): what is known is understood, the rest is left alone."""

import random

import pytest

from allocation.entrypoints.http.preferences import preferences_in


@pytest.mark.parametrize(
    ("prefer", "expected"),
    [
        ("", {}),
        ("wait=5", {"wait": "5"}),
        ("WAIT = 5", {"wait": "5"}),
        ('wait="5"', {"wait": "5"}),
        ("wait=0, handling=lenient", {"wait": "0", "handling": "lenient"}),
        ("handling=lenient;foo=1;bar, wait=3", {"handling": "lenient", "wait": "3"}),
        ("respond-async", {"respond-async": ""}),
        ("wait=1, wait=9", {"wait": "1"}),
        (' , wait=1,, foo; note="a, wait=7", bar="x\\"y" ', {"wait": "1", "foo": "", "bar": 'x"y'}),
        ('foo="sans fin, wait=7', {"foo": "", "sans": "", "wait": "7"}),
        ("=5, wait=", {"5": "", "wait": ""}),
    ],
)
def test_chaque_préférence_se_lit_et_la_première_de_son_nom_compte(
    prefer: str, expected: dict[str, str]
) -> None:
    assert preferences_in(prefer) == expected


@pytest.mark.parametrize(
    "prefer",
    ["a" + "," * 200_000, '"' * 200_001, '"' + '\\"' * 100_000, "a=" * 100_000, " " * 200_000, ";" * 200_000],
)
def test_un_en_tête_démesuré_se_lit_comme_un_autre(prefer: str) -> None:
    """It would take minutes, in which nobody else is answered, if each character were looked at again."""
    assert len(preferences_in(prefer)) <= 1


def test_n_importe_quel_texte_se_lit() -> None:
    some = random.Random(0)
    for _ in range(2000):
        prefer = "".join(some.choices('ab=;, "\\', k=some.randint(0, 30)))
        for name, value in preferences_in(prefer).items():
            assert name
            assert not set(name) & set(' ,;="')
            assert isinstance(value, str)
