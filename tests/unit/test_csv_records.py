"""Reading CSV without losing a line, whatever is in it."""

import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocation.entrypoints.csv_records import CsvReader, Record, RejectedLines


@pytest.fixture
def fichier(tmp_path: Path) -> Path:
    return tmp_path / "commandes.csv"


def lire(path: Path, content: bytes, delimiter: str = ",") -> list[Record]:
    path.write_bytes(content)
    with CsvReader(path, delimiter) as reader:
        return list(reader)


def test_chaque_ligne_a_son_numéro_dans_le_fichier(fichier: Path) -> None:
    assert lire(fichier, b"a,b\n1,2\n3,4\n") == [Record(2, ["1", "2"]), Record(3, ["3", "4"])]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_toutes_les_fins_de_ligne_conviennent(fichier: Path, end: bytes) -> None:
    assert lire(fichier, end.join([b"a,b", b"1,2", b"3,4"])) == [
        Record(2, ["1", "2"]),
        Record(3, ["3", "4"]),
    ]


def test_la_marque_d_ordre_des_octets_n_est_pas_un_nom_de_colonne(fichier: Path) -> None:
    fichier.write_bytes(b"\xef\xbb\xbfid_commande,sku\n")

    with CsvReader(fichier, ",") as reader:
        assert reader.header == ["id_commande", "sku"]


def test_un_fichier_vide_n_a_ni_en_tête_ni_lignes(fichier: Path) -> None:
    fichier.write_bytes(b"")

    with CsvReader(fichier, ",") as reader:
        assert (reader.header, list(reader)) == ([], [])


def test_les_lignes_vides_sont_passées_et_comptées(fichier: Path) -> None:
    assert lire(fichier, b"a,b\n\n1,2\n\n") == [Record(3, ["1", "2"])]


def test_un_champ_entre_guillemets_peut_contenir_tout_et_même_des_lignes(fichier: Path) -> None:
    records = lire(fichier, b'a,b\n"1,\n""x""\n",2\n3,4\n')

    assert records == [Record(2, ['1,\n"x"\n', "2"]), Record(5, ["3", "4"])]


def test_un_guillemet_jamais_fermé_ne_perd_que_sa_ligne(fichier: Path) -> None:
    rest = [f"{n},x" for n in range(100)]

    records = lire(fichier, "\n".join(["a,b", '"ouvert,2', *rest]).encode())

    assert records[0].problem is not None
    assert records[0].fields == ['"ouvert,2']
    assert records[1:] == [Record(n + 3, [str(n), "x"]) for n in range(100)]


def test_un_guillemet_jamais_fermé_à_la_fin_du_fichier(fichier: Path) -> None:
    records = lire(fichier, b'a,b\n1,2\n"ouvert,2\n3,4\n')

    assert [(record.number, record.problem is None) for record in records] == [
        (2, True),
        (3, False),
        (4, True),
    ]


def test_un_guillemet_fermé_trop_tôt_est_un_défaut_de_la_ligne(fichier: Path) -> None:
    [bad, good] = lire(fichier, b'a,b\n"1"x,2\n3,4\n')

    assert bad.problem is not None
    assert good == Record(3, ["3", "4"])


@pytest.mark.parametrize(("line", "found"), [(b"1", 1), (b"1,2,3", 3)])
def test_une_ligne_qui_n_a_pas_toutes_ses_colonnes_est_un_défaut(
    fichier: Path, line: bytes, found: int
) -> None:
    [record] = lire(fichier, b"a,b\n" + line)

    assert record.problem == f"2 colonnes sont attendues, non {found}"


def test_un_autre_séparateur(fichier: Path) -> None:
    assert lire(fichier, b"a;b\n1;2,5\n", delimiter=";") == [Record(2, ["1", "2,5"])]


def test_une_ligne_sans_fin_ne_remplit_pas_la_mémoire(fichier: Path) -> None:
    records = lire(fichier, b"a,b\n" + b"x" * 1_000_000 + b"\n1,2\n")

    assert records[-1] == Record(3, ["1", "2"])
    assert {record.number for record in records[:-1]} == {2}
    assert all(record.problem for record in records[:-1])


def test_les_lignes_refusées_gardent_leurs_octets_leur_numéro_et_leur_raison(tmp_path: Path) -> None:
    [record] = lire(tmp_path / "f.csv", b'a,b\n"caf\xe9, ""x""",2\n')
    path = tmp_path / "f.csv.rejected.csv"

    with RejectedLines(path, ["a", "b"], ",") as rejected:
        rejected.add(record, "pas de l'UTF-8")

    assert path.read_bytes() == (b'a,b,ligne_du_fichier,raison\r\n"caf\xe9, ""x""",2,2,pas de l\'UTF-8\r\n')


def test_sans_ligne_refusée_il_n_y_a_pas_de_fichier_et_l_ancien_disparaît(tmp_path: Path) -> None:
    path = tmp_path / "f.csv.rejected.csv"
    path.write_text("d'une autre fois")

    with RejectedLines(path, ["a"], ","):
        pass

    assert not path.exists()


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=2, max_size=2)))
def test_tout_ce_qu_un_tableur_écrit_se_relit(rows: list[list[str]]) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "f.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
        with CsvReader(path, ",") as reader:
            records = list(reader)

    assert [record.fields for record in records if record.problem is None] == rows


@given(st.binary(max_size=300))
def test_n_importe_quels_octets_donnent_des_lignes_et_aucune_erreur(content: bytes) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory, "f.csv")
        records = lire(path, content)

    assert [record.number for record in records] == sorted(record.number for record in records)
