"""Reading CSV without losing a line, whatever is in it."""

import csv
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocation.entrypoints.csv_files.records import Record, fitted, guessed, lines, records


def lire(text: str, delimiter: str = ",") -> list[Record]:
    """The records, each as wide as the first one."""
    found = list(records(lines(StringIO(text, newline="")), delimiter))
    return [fitted(record, len(found[0].fields)) for record in found]


def test_chaque_ligne_a_son_numéro_dans_le_fichier() -> None:
    assert lire("a,b\n1,2\n3,4\n")[1:] == [Record(2, ["1", "2"]), Record(3, ["3", "4"])]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_toutes_les_fins_de_ligne_conviennent(end: str) -> None:
    found = lire(end.join(["a,b", "1,2", "3,4"]))

    assert found[1:] == [Record(2, ["1", "2"]), Record(3, ["3", "4"])]


@pytest.mark.parametrize("empty", ["", ",", " , ", '"",""', "\t,\u00a0"])
def test_les_lignes_sans_contenu_sont_passées_et_comptées(empty: str) -> None:
    assert lire(f"a,b\n{empty}\n1,2\n{empty}\n")[1:] == [Record(3, ["1", "2"])]


def test_un_champ_entre_guillemets_peut_contenir_tout_et_même_des_lignes() -> None:
    found = lire('a,b\n"1,\n""x""\n",2\n3,4\n')

    assert found[1:] == [Record(2, ['1,\n"x"\n', "2"]), Record(5, ["3", "4"])]


def test_un_guillemet_jamais_fermé_ne_perd_que_sa_ligne() -> None:
    rest = [f"{n},x" for n in range(100)]

    found = lire("\n".join(["a,b", '"ouvert,2', *rest]))[1:]

    assert found[0].problem is not None
    assert found[0].fields == ['"ouvert,2']
    assert guessed(found[0], ",") == ["ouvert", "2"]
    assert found[1:] == [Record(n + 3, [str(n), "x"]) for n in range(100)]


def test_un_guillemet_jamais_fermé_à_la_fin_du_fichier() -> None:
    found = lire('a,b\n1,2\n"ouvert,2\n3,4\n')[1:]

    assert [(record.number, record.problem is None) for record in found] == [
        (2, True),
        (3, False),
        (4, True),
    ]


def test_un_guillemet_fermé_trop_tôt_est_un_défaut_de_la_ligne() -> None:
    [_, bad, good] = lire('a,b\n"1"x,2\n3,4\n')

    assert bad.problem is not None
    assert good == Record(3, ["3", "4"])


@pytest.mark.parametrize(("line", "found"), [("1", 1), ("1,2,3", 3), ("1,2,,x", 4)])
def test_une_ligne_qui_n_a_pas_toutes_ses_colonnes_est_un_défaut(line: str, found: int) -> None:
    [_, record] = lire("a,b\n" + line)

    assert record.problem == f"2 colonnes sont attendues, non {found}"


def test_des_colonnes_de_trop_sont_permises_si_elles_sont_vides() -> None:
    assert lire("a,b\n1,2,\n3,4,, \n")[1:] == [Record(2, ["1", "2"]), Record(3, ["3", "4"])]


@pytest.mark.parametrize("long", ["x" * 1_000_000, '"' + "x" * 1_000_000 + '",2', "x" * 100_000])
def test_une_ligne_trop_longue_est_une_ligne_et_un_seul_défaut(long: str) -> None:
    [_, too_long, good] = lire(f"a,b\n{long}\n1,2\n")

    assert (too_long.number, too_long.problem) == (2, "plus de 100000 caractères")
    assert len(too_long.fields[0]) == 1000
    assert good == Record(3, ["1", "2"])


def test_un_long_champ_sur_plusieurs_lignes_est_un_seul_champ() -> None:
    field = "\n".join(["x" * 10_000] * 40)

    assert lire(f'a,b\n"{field}",2\n')[1:] == [Record(2, [field, "2"])]


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=2, max_size=2)))
def test_tout_ce_qu_un_tableur_écrit_se_relit(rows: list[list[str]]) -> None:
    text = StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])

    found = lire(text.getvalue())[1:]

    with_content = [row for row in rows if any(map(str.strip, row))]
    assert [record.fields for record in found if record.problem is None] == with_content


@given(st.text(max_size=300))
def test_n_importe_quel_texte_donne_des_lignes_et_aucune_erreur(text: str) -> None:
    found = lire("a,b\n" + text)

    assert [record.number for record in found] == sorted(record.number for record in found)
