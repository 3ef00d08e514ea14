"""How the Prefer header is read (RFC 7240): what is known is understood, the rest is left alone."""

import pytest

from allocation.entrypoints.http_freshness import preferences_in


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
