"""Text is found in whatever file it comes, and what is no text is told so, with the place."""

import gzip
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocation.entrypoints.csv_files.columns import Fields
from allocation.entrypoints.csv_files.errors import FileUnreadable, ImportRefused
from allocation.entrypoints.csv_files.reading import CsvReading, Options, reading

FIELDS = Fields({"sku": ("sku",), "quantité": ("quantité", "qty")})

Lire = Callable[..., list[dict[str, str]]]


def rows(file: CsvReading) -> list[dict[str, str]]:
    return [dict(row.values) for row in file]


@pytest.fixture
def lire(tmp_path: Path) -> Lire:
    def run(content: bytes, **options: str) -> list[dict[str, str]]:
        path = tmp_path / "f.csv"
        path.write_bytes(content)
        with reading(path, FIELDS, Options(**options)) as file:
            return rows(file)

    return run


TEXT = "sku;quantité\nÉTAGÈRE;3\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_l_encodage_se_reconnaît(lire: Lire, encoding: str) -> None:
    assert lire(TEXT.encode(encoding)) == [{"sku": "ÉTAGÈRE", "quantité": "3"}]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "utf-16-be", "utf-8", "UTF8"])
def test_l_encodage_se_nomme(lire: Lire, encoding: str) -> None:
    assert lire(TEXT.encode(encoding), encoding=encoding) == [{"sku": "ÉTAGÈRE", "quantité": "3"}]


@pytest.mark.parametrize(
    ("encoding", "option"), [("utf-8-sig", "utf-8"), ("utf-16", "utf-16"), ("utf-16", "utf-16-le")]
)
def test_la_marque_d_un_encodage_nommé_n_est_pas_du_texte(lire: Lire, encoding: str, option: str) -> None:
    assert lire(TEXT.encode(encoding), encoding=option) == [{"sku": "ÉTAGÈRE", "quantité": "3"}]


@pytest.mark.parametrize("content", [gzip.compress(TEXT.encode()), gzip.compress(TEXT.encode("utf-16"))])
def test_un_fichier_comprimé_se_lit_tel_quel(lire: Lire, content: bytes) -> None:
    assert lire(content) == [{"sku": "ÉTAGÈRE", "quantité": "3"}]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (gzip.compress(b""), "the file is empty"),
        (TEXT.encode("cp1252"), "byte 12 of line 1 is not text in utf-8.*--encoding cp1252"),
        (TEXT.encode("utf-16-le"), "byte 23 of line 1 is not text in utf-8.*utf-16-le"),
        (b"PK\x03\x04\x14\x00", "byte 3 of line 1 is not text.*Save it as CSV"),
        (b"\x89PNG\r\n\x1a\n", "byte 1 of line 1 is not text"),
    ],
)
def test_un_fichier_qui_n_est_pas_du_texte_est_refusé_avec_l_endroit(
    lire: Lire, content: bytes, said: str
) -> None:
    with pytest.raises(ImportRefused, match=said):
        lire(content)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("klingon", "there is no such text encoding"),
        ("rot13", "no such text encoding"),
        ("cp1252", "mark of utf-8"),
    ],
)
def test_un_encodage_qui_ne_va_pas_est_refusé(lire: Lire, option: str, said: str) -> None:
    with pytest.raises(ImportRefused, match=said):
        lire(TEXT.encode("utf-8-sig"), encoding=option)


def test_un_fichier_comprimé_qui_est_coupé_est_lu_jusque_là_et_le_dit(lire: Lire) -> None:
    lines = "".join(f"{n:x}{n * 7919 % 65521:x};1\n" for n in range(50_000))
    content = gzip.compress(("sku;qty\n" + lines).encode())

    with pytest.raises(FileUnreadable, match=r"line \d+: the compressed file is cut off or damaged"):
        lire(content[: len(content) // 2])


def test_de_l_utf_16_coupé_est_dit_illisible_à_sa_ligne(lire: Lire) -> None:
    with pytest.raises(FileUnreadable, match=r"line \d+ is not in the encoding that was expected"):
        lire(TEXT.encode("utf-16")[:-1])


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("sku,quantité", {}),
        ("sku\tquantité", {}),
        ("sku|quantité", {}),
        ("libellé, long;sku;quantité", {}),
        ("sep=;\nsku;quantité", {}),
        ('"sep=~"\nsku~quantité', {}),
        ("sku\tquantité", {"delimiter": "\\t"}),
        ("sku~quantité", {"delimiter": "~"}),
        ("\n\nsku;quantité", {}),
        ("sku;quantité;;", {}),
    ],
)
def test_le_séparateur_se_reconnaît_ou_se_nomme(lire: Lire, header: str, options: dict[str, str]) -> None:
    titles = header.splitlines()[-1]
    line = titles.replace("sku", "TABLE").replace("quantité", "3")

    assert lire(f"{header}\n{line}\n".encode(), **options) == [{"sku": "TABLE", "quantité": "3"}]


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n"])
def test_un_séparateur_impossible_est_refusé(lire: Lire, delimiter: str) -> None:
    with pytest.raises(ImportRefused, match="one character is expected"):
        lire(TEXT.encode(), delimiter=delimiter)


@pytest.mark.parametrize(
    "header",
    ["SKU,Quantite", "Sku,QUANTITÉ", "s k u,quantite\u0301", '" sku ",Qty', "\ufeffsku,\u200bquantité"],
)
def test_les_titres_se_trouvent_dans_toutes_leurs_écritures(lire: Lire, header: str) -> None:
    assert lire(f"{header}\nTABLE,3\n".encode()) == [{"sku": "TABLE", "quantité": "3"}]


@pytest.mark.parametrize(
    "option", ["quantité=Nombre", "quantite=nombre", "QUANTITÉ=NOMBRE", "quantite\u0301=Nombre"]
)
def test_les_noms_de_column_se_trouvent_dans_toutes_leurs_écritures(lire: Lire, option: str) -> None:
    assert lire(b"sku,Nombre\nTABLE,3\n", columns=[option]) == [{"sku": "TABLE", "quantité": "3"}]


def test_un_titre_exact_passe_avant_ceux_qui_lui_ressemblent(lire: Lire) -> None:
    assert lire(b"SKU,sku,qty\nAUTRE,TABLE,3\n") == [{"sku": "TABLE", "quantité": "3"}]


def test_toutes_les_colonnes_qui_manquent_sont_nommées_à_la_fois(lire: Lire) -> None:
    with pytest.raises(ImportRefused) as refused:
        lire(b"article,Qty,qty,quantit\xc3\xa9\n")

    assert "sku: 0 columns are called sku; quantité: 2 columns are called" in str(refused.value)
    assert "The file has: article, Qty, qty, quantité" in str(refused.value)


@given(st.binary(max_size=300))
def test_n_importe_quels_octets_sont_lus_ou_refusés(content: bytes) -> None:
    with TemporaryDirectory() as directory, suppress(ImportRefused, FileUnreadable):
        path = Path(directory, "f.csv")
        path.write_bytes(b"sku,qty\n" + content)
        with reading(path, FIELDS, Options()) as file:
            numbers = [row.record.number for row in file]
            assert numbers == sorted(numbers)
