"""What people write into cells is understood, or refused where it may mean two things."""

from datetime import date

import pytest

from allocation.domain.errors import ValeurInvalide
from allocation.entrypoints.csv_files.errors import ImportRefused
from allocation.entrypoints.csv_files.values import dates, text, units


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("10", 10),
        ("1.0", 1),
        ("10,00", 10),
        ("10.00", 10),
        ("-3", -3),
        ("1 000", 1000),
        ("12\u00a0345\u202f678", 12_345_678),
        ("1 000,00", 1000),
    ],
)
def test_des_unités_entières_se_lisent_comme_les_tableurs_les_écrivent(cell: str, number: int) -> None:
    assert units(cell) == number


@pytest.mark.parametrize(
    "cell",
    ["", "1,5", "1.000", "1,000", "1_0", "1e3", "10 00", "1 00", "0x1", "dix", "٣", "1.", "½", "1,0,0"],
)
def test_ce_qui_n_est_pas_entier_ou_peut_vouloir_dire_deux_choses_est_refusé(cell: str) -> None:
    with pytest.raises(ValeurInvalide, match="un nombre entier d'unités est attendu"):
        units(cell)


@pytest.mark.parametrize("pattern", ["%d/%m/%Y", "dd/mm/yyyy", "DD/MM/YYYY", "jj/mm/aaaa"])
def test_les_dates_se_lisent_comme_l_option_le_dit(pattern: str) -> None:
    day = dates(pattern)

    assert day("31/12/2026") == date(2026, 12, 31)
    assert day("") is None
    with pytest.raises(ValeurInvalide, match="une date comme 31/01/2027 est attendue, non « 2026-12-31 »"):
        day("2026-12-31")


def test_sans_option_les_dates_sont_celles_de_l_iso() -> None:
    day = dates(None)

    assert day("2026-12-31") == date(2026, 12, 31)
    for cell in ("31/12/2026", "20261231", "2026-02-30", "2026-W01-1"):
        with pytest.raises(ValeurInvalide, match="une date comme 2027-01-31 est attendue"):
            day(cell)


@pytest.mark.parametrize("pattern", ["", "jour", "%d/%m", "%H:%M", "%Y-%j-%", "mm/yyyy", "%Q"])
def test_un_format_qui_ne_nomme_pas_un_jour_entier_est_refusé(pattern: str) -> None:
    with pytest.raises(ImportRefused, match="a day, a month and a year are expected"):
        dates(pattern)


def test_deux_écritures_d_un_même_texte_sont_le_même_texte() -> None:
    assert text(" e\u0301toile\u00a0") == text("étoile")
