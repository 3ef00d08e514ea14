"""Importing files: no line is lost, none is counted for another, and what is handed back can be imported."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.known_stock import KnownLot, KnownStock
from allocation.domain.commands import Allouer, CréerLot
from allocation.domain.values import Enregistré
from allocation.entrypoints.csv_files import kinds
from allocation.entrypoints.csv_files.columns import Fields
from allocation.entrypoints.csv_files.importing import Import, Report, one_by_one
from allocation.entrypoints.csv_files.numbering import none_before
from allocation.entrypoints.csv_files.reading import Options, reading
from allocation.entrypoints.csv_files.values import dates
from allocation.service_layer.bootstrap import bootstrap

Write = Callable[..., Path]
Lines = set[tuple[str, str, str, int]]


@pytest.fixture
def écrire(tmp_path: Path) -> Write:
    def write(*lines: str, name: str = "f.csv", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.write_bytes("".join(f"{line}\n" for line in lines).encode(encoding))
        return path

    return write


@pytest.fixture
def shop(database: Database) -> Database:
    bus = bootstrap(database, inline=False)
    bus.handle(CréerLot("lot-1", "LAMPE", 100))
    bus.handle(CréerLot("lot-2", "TABLE", 3))
    return database


@contextmanager
def opened(path: Path, fields: Fields, options: dict[str, Any]) -> Iterator[Any]:
    with reading(path, fields, Options(**options)) as file:
        yield file


def importer(database: Database, path: Path, *, append: bool = False, **options: Any) -> Report:
    known, report = KnownStock(database), Report()
    with opened(path, kinds.ORDER_LINE_FIELDS, options) as file:
        work = Import(
            file, kinds.ORDER_LINES, last_number=known.last_number if append else none_before, in_flight=4
        )
        work.run(bootstrap(database, inline=False).submit, report)
    return report


def importer_lots(database: Database, path: Path) -> Report:
    report = Report()
    kind = kinds.lots_or_updates(dates("dd/mm/yyyy"), KnownStock(database).lot)
    with opened(path, kinds.LOT_FIELDS, {}) as file:
        Import(file, kind).run(one_by_one(bootstrap(database, inline=False).handle), report)
    return report


def counts(report: Report) -> dict[str, int]:
    return {outcome: count for outcome, count in report.counts.items() if count}


def order_lines(database: Database) -> Lines:
    with database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT id_commande, sku, ligne, quantité FROM order_lines")
        return {(row[0], row[1], row[2], row[3]) for row in rows}


def test_le_fichier_des_refus_corrigé_apporte_la_ligne_qui_manquait(shop: Database, écrire: Write) -> None:
    path = écrire("id_commande,sku,quantité", "c-1,LAMPE,2", "c-1,LAMPE,-2", "c-1,LAMPE,5")

    first = importer(shop, path)
    rejected = first.files["rejected"]
    text = rejected.read_text("utf-8")
    rejected.write_text(text.replace("-2,2,3", "2,2,3"), "utf-8")
    second = importer(shop, rejected)

    assert text.splitlines()[0] == "id_commande,sku,quantité,ligne,ligne_du_fichier,raison"
    assert (counts(first), counts(second)) == ({"allocated": 2, "rejected": 1}, {"allocated": 1})
    assert order_lines(shop) == {
        ("c-1", "LAMPE", "1", 2),
        ("c-1", "LAMPE", "2", 2),
        ("c-1", "LAMPE", "3", 5),
    }
    assert counts(importer(shop, path)) == {"repeated": 2, "rejected": 1}


def test_un_fichier_des_refus_importé_tel_quel_en_donne_un_de_la_même_forme(
    shop: Database, écrire: Write
) -> None:
    path = écrire("id_commande,sku,quantité,remarque", "c-1,LAMPE,-2,à voir", "c-1,LAMPE,-3,")

    first = importer(shop, path).files["rejected"]
    second = importer(shop, first).files["rejected"]

    assert second.read_text("utf-8") == first.read_text("utf-8")


@pytest.mark.parametrize(
    ("line", "mended"),
    [
        ("c-1,LAMPE", "c-1,LAMPE,2"),
        ("c-1,LAMPE,1,5", "c-1,LAMPE,2"),
        ('c-1,LAMPE,"2', "c-1,LAMPE,2"),
    ],
)
def test_ce_qui_ne_se_lit_pas_compte_aussi_dans_les_numéros(
    shop: Database, écrire: Write, line: str, mended: str
) -> None:
    """The file whose line was mended gives each line the number that it had."""
    first = importer(shop, écrire("id_commande,sku,quantité", line, "c-1,LAMPE,5"))
    again = importer(shop, écrire("id_commande,sku,quantité", mended, "c-1,LAMPE,5"))

    [_, handed_back] = csv.reader(first.files["rejected"].read_text("utf-8").splitlines())
    assert handed_back[-3] == "1"
    assert (counts(first), counts(again)) == (
        {"allocated": 1, "rejected": 1},
        {"allocated": 1, "repeated": 1},
    )
    assert order_lines(shop) == {("c-1", "LAMPE", "1", 2), ("c-1", "LAMPE", "2", 5)}


def test_une_commande_qui_continue_dans_un_second_fichier_est_dite_et_append_l_ajoute(
    shop: Database, écrire: Write
) -> None:
    importer(shop, écrire("id_commande,sku,quantité", "c-1,LAMPE,2", "c-1,LAMPE,2"))
    second = écrire("id_commande,sku,quantité", "c-1,LAMPE,2", "c-2,LAMPE,1", name="suite.csv")

    counted = importer(shop, second)
    appended = importer(shop, second, append=True)

    assert (counts(counted), counted.repeated_by_place) == ({"repeated": 1, "allocated": 1}, 1)
    assert (counts(appended), appended.repeated_by_place) == ({"allocated": 2}, 0)
    assert ("c-1", "LAMPE", "3", 2) in order_lines(shop)


def test_append_compte_aussi_les_lignes_qui_n_ont_pas_trouvé_de_stock(shop: Database, écrire: Write) -> None:
    bus = bootstrap(shop, inline=False)
    bus.handle(Allouer("c-1", "TABLE", 10, "7"))
    bus.handle(Allouer("c-1", "TABLE", 1, "A"))

    importer(shop, écrire("id_commande,sku,quantité", "c-1,TABLE,1"), append=True)

    assert ("c-1", "TABLE", "8", 1) in order_lines(shop)


@pytest.mark.parametrize("given", [0, 1, 2])
def test_un_numéro_de_place_évite_ceux_qui_sont_donnés_même_plus_loin(
    shop: Database, écrire: Write, given: int
) -> None:
    lines = ["c-1,LAMPE,4,", "c-1,LAMPE,4,"]
    lines.insert(given, "c-1,LAMPE,4,1")

    report = importer(shop, écrire("id_commande,sku,quantité,ligne", *lines))

    assert counts(report) == {"allocated": 3}
    assert {line[2] for line in order_lines(shop)} == {"1", "2", "3"}


def test_une_colonne_ligne_reçoit_le_numéro_de_place_dans_ce_qui_est_rendu(
    shop: Database, écrire: Write
) -> None:
    path = écrire("Ligne;ID_Commande;SKU;QTY", ";c-1;LAMPE;1", ";c-1;LAMPE;0")

    report = importer(shop, path)

    assert report.files["rejected"].read_text("utf-8").splitlines() == [
        "Ligne;ID_Commande;SKU;QTY;ligne_du_fichier;raison",
        "2;c-1;LAMPE;0;3;quantité : de 1 à 1000000000 unités sont attendues, non 0",
    ]


def test_les_lignes_sans_stock_sont_rendues_et_retentées_plus_tard(shop: Database, écrire: Write) -> None:
    path = écrire("id_commande,sku,quantité", "c-1,LAMPE,1", "c-1,TABLE,5", "c-2,TABLE,4", "c-2,LAMPE,-1")

    first = importer(shop, path)
    bootstrap(shop, inline=False).handle(CréerLot("lot-3", "TABLE", 9))
    second = importer(shop, first.files["out of stock"])

    assert (counts(first), first.incomplete_orders) == (
        {"allocated": 1, "out of stock": 2, "rejected": 1},
        2,
    )
    assert first.files["out of stock"].name == "f.csv.out-of-stock.csv"
    assert first.files["out of stock"].read_text("utf-8").splitlines() == [
        "id_commande,sku,quantité,ligne,ligne_du_fichier,raison",
        'c-1,TABLE,5,1,3,"rupture de stock : aucun lot ne suffit, le mieux fourni a 3 unités"',
        'c-2,TABLE,4,1,4,"rupture de stock : aucun lot ne suffit, le mieux fourni a 3 unités"',
    ]
    assert counts(second) == {"allocated": 2}
    assert second.files == {}


def test_une_ligne_encore_sans_stock_est_rendue_pour_la_même_raison(shop: Database, écrire: Write) -> None:
    path = écrire("id_commande,sku,quantité", "c-1,TABLE,5")

    first, second = (importer(shop, path).files["out of stock"] for _ in range(2))

    assert "le mieux fourni a 3 unités" in first.read_text("utf-8")
    assert second.read_bytes() == first.read_bytes()


def test_ce_qui_fut_rendu_d_un_import_d_avant_est_gardé(shop: Database, écrire: Write) -> None:
    path = écrire("id_commande,sku,quantité", "c-1,LAMPE,x")

    first, second, third = (importer(shop, path).files["rejected"] for _ in range(3))

    assert [each.name for each in (first, second, third)] == [
        "f.csv.rejected.csv",
        "f.csv.rejected.2.csv",
        "f.csv.rejected.3.csv",
    ]
    assert first.read_bytes() == third.read_bytes()


def test_sans_ligne_refusée_il_n_y_a_pas_de_fichier(shop: Database, écrire: Write) -> None:
    path = écrire("id_commande,sku,quantité", "c-1,LAMPE,1", ",,", "")

    assert importer(shop, path).files == {}
    assert [each.name for each in path.parent.iterdir()] == ["f.csv"]


def test_un_texte_mal_encodé_est_rendu_avec_ses_octets_et_s_importe_avec_son_encodage(
    shop: Database, écrire: Write
) -> None:
    path = écrire("id_commande,sku,qty", "é-1,LAMPE,1", "c-1,LAMPE,1", encoding="cp1252")

    first = importer(shop, path)
    second = importer(shop, first.files["rejected"], encoding="cp1252")

    assert counts(first) == {"allocated": 1, "rejected": 1}
    assert b"\xe9-1,LAMPE,1,1,2," in first.files["rejected"].read_bytes()
    assert counts(second) == {"allocated": 1}
    assert ("é-1", "LAMPE", "1", 1) in order_lines(shop)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_ce_qui_est_rendu_a_l_encodage_du_fichier(shop: Database, écrire: Write, encoding: str) -> None:
    path = écrire("id_commande\tsku\tqty", "é-1\tLAMPE\t-1", "é-2\tTABLE\t50", encoding=encoding)

    report = importer(shop, path, encoding=encoding)

    assert counts(report) == {"rejected": 1, "out of stock": 1}
    for file in report.files.values():
        assert file.read_text(encoding).startswith("id_commande\tsku\tqty\tligne\t")
        assert counts(importer(shop, file, encoding=encoding)) in ({"rejected": 1}, {"out of stock": 1})


def test_une_ligne_trop_longue_a_un_seul_refus(shop: Database, écrire: Write) -> None:
    path = écrire("id_commande,sku,qty", "c-1,LAMPE,1", "c-2,LAMPE," + "9" * 300_000, "c-3,LAMPE,1")

    report = importer(shop, path)

    assert counts(report) == {"allocated": 2, "rejected": 1}
    assert len(report.files["rejected"].read_text("utf-8").splitlines()) == 2


def test_deux_écritures_d_une_commande_sont_la_même_commande(shop: Database, écrire: Write) -> None:
    path = écrire("id_commande,sku,qty", "e\u0301-1,LAMPE,1", "\u00e9-1 ,LAMPE,1")

    importer(shop, path)

    assert order_lines(shop) == {("\u00e9-1", "LAMPE", "1", 1), ("\u00e9-1", "LAMPE", "2", 1)}


def test_update_fixe_la_quantité_des_lots_qui_existent_et_reçoit_les_autres(
    shop: Database, écrire: Write
) -> None:
    lines = ["lot-1,LAMPE,50,", "lot-9,LAMPE,7,31/12/2027", "lot-9,LAMPE,8,31/12/2027", "lot-2,TABLE,3,"]

    report = importer_lots(shop, écrire("réf,sku,quantité,eta", *lines))

    assert counts(report) == {"updated": 2, "received": 1, "repeated": 1}
    with shop.reading() as connection:
        lots = connection.exec_driver_sql("SELECT référence, quantité, eta::text FROM lots").all()
    assert {tuple(lot) for lot in lots} == {
        ("lot-1", 50, None),
        ("lot-2", 3, None),
        ("lot-9", 8, "2027-12-31"),
    }


def test_update_ne_change_pas_l_arrivée_d_un_lot(shop: Database, écrire: Write) -> None:
    report = importer_lots(shop, écrire("réf,sku,quantité,eta", "lot-1,LAMPE,5,31/12/2027"))

    assert counts(report) == {"rejected": 1}
    text = report.files["rejected"].read_text("utf-8")
    assert "le lot lot-1 a None, et seule sa quantité peut changer" in text
    assert KnownStock(shop).lot("LAMPE", "lot-1") == KnownLot(None)


def test_update_distingue_les_lots_de_même_référence_par_leur_sku(shop: Database, écrire: Write) -> None:
    lines = ["lot-1,TABLE,5,", "lot-1,LAMPE,50,", "lot-1,TABLE,6,"]

    report = importer_lots(shop, écrire("réf,sku,quantité,eta", *lines))

    assert counts(report) == {"received": 1, "updated": 2}
    with shop.reading() as connection:
        lots = connection.exec_driver_sql("SELECT sku, quantité FROM lots WHERE référence = 'lot-1'").all()
    assert {tuple(lot) for lot in lots} == {("LAMPE", 50), ("TABLE", 6)}


def test_update_atteint_un_lot_enregistré_avant_la_règle_des_identifiants(
    shop: Database, écrire: Write
) -> None:
    old = Enregistré("LAM\u200bPE")
    bootstrap(shop).handle(CréerLot(old, old, 5))

    report = importer_lots(shop, écrire("réf,sku,quantité,eta", f"{old},{old},9,"))

    assert counts(report) == {"updated": 1}


def test_check_lit_tout_dit_les_défauts_et_n_écrit_rien(écrire: Write) -> None:
    path = écrire("id_commande,sku,qty", "c-1,LAMPE,1", "c-2,LAMPE,x", "c-3,INCONNU,1", '"c-4,LAMPE,1')
    found = []

    with opened(path, kinds.ORDER_LINE_FIELDS, {}) as file:
        result = Import(file, kinds.ORDER_LINES).check(lambda record, _: found.append(record.number))

    assert (result, found) == ({"readable": 2, "rejected": 2}, [3, 5])
    assert [each.name for each in path.parent.iterdir()] == ["f.csv"]


def test_l_arrêt_demandé_finit_ce_qui_est_en_route_et_dit_jusqu_où(shop: Database, écrire: Write) -> None:
    path = écrire("id_commande,sku,qty", *(f"c-{n},LAMPE,1" for n in range(20)))
    asked, report = [], Report()

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) > 7

    with opened(path, kinds.ORDER_LINE_FIELDS, {}) as file:
        work = Import(file, kinds.ORDER_LINES, in_flight=4, should_stop=should_stop)
        work.run(bootstrap(shop, inline=False).submit, report)

    assert (report.stopped, report.last_line, counts(report)) == (True, 8, {"allocated": 7})
    assert {line[0] for line in order_lines(shop)} == {f"c-{n}" for n in range(7)}
