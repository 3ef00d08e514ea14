"""Whatever is asked of a command, it answers with a sentence and an exit status, never with a trace."""

import io
import json
import os
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.e2e.conftest import ALLOCATION
from tests.integration.conftest import Run

from allocation.adapters.journal.checkpoints import ParkedEvents
from allocation.adapters.postgresql.database import Database
from allocation.domain.commands import Allouer, CréerLot
from allocation.entrypoints.cli import read_models
from allocation.service_layer.bootstrap import bootstrap


@pytest.fixture
def shop(database: Database) -> Database:
    bus = bootstrap(database)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(Allouer("c-1", "LAMPE", 3))
    return database


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["journal", "archive", "--before", "0001-01-01"], 0, "0 events moved"),
        (["journal", "archive", "--before", "0001-01-01T00:00+14:00"], 0, "0 events moved"),
        (["journal", "archive", "--before", "9999-12-31T23:59:59.999999-14:00"], 0, "1 events moved"),
        (["journal", "archive", "--before", "2999-99-99"], 2, "an instant is expected"),
        (["journal", "--after", "9223372036854775807"], 0, ""),
        (["journal", "--after", "9223372036854775808"], 2, "Invalid value"),
        (["parked", "show", "inconnu", "LAMPE"], 2, "no reader of the journal is called inconnu; there are:"),
        (["parked", "show", "stock_view.ancien", "LAMPE"], 2, "no reader of the journal is called"),
        (["parked", "show", "stock_view", "LAMPE"], 0, "stock_view has no parked events of LAMPE"),
        (["parked", "retry", "inconnu"], 2, "no reader of the journal is called inconnu"),
        (["parked", "discard", "inconnu", "--yes"], 2, "no reader of the journal is called inconnu"),
        (["parked", "retry", "stock_view", "\0"], 2, "has no parked events of"),
        (["parked", "show", "stock_view", "\0"], 1, ""),
        (["rebuild", "inconnue"], 2, "there is no read model called inconnue"),
        (["rebuild", "stock_view", "--from", "snapshot"], 2, "there is no snapshot"),
        (["rebuild", "stock_view", "--undo"], 2, "has not been rebuilt"),
        (["verify", "inconnue"], 2, "there is no read model called inconnue"),
        (["import", "lots", "/"], 2, "/ is not a file"),
        (["import", "lots", "/dev/null"], 2, "the file is empty"),
        (["import", "lots", "/proc/self/mem"], 1, ""),
    ],
)
def test_des_arguments_étranges_ont_une_phrase_pour_réponse(
    run: Run, shop: Database, tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    finished = run(*arguments, ALLOCATION_ARCHIVE_DIR=str(tmp_path))

    assert (finished.status, said in finished.stdout + finished.stderr) == (status, True), finished
    assert "Traceback" not in finished.stderr


def test_les_options_d_un_import_disent_comment_lire_le_fichier_et_qu_en_faire(
    run: Run, shop: Database, tmp_path: Path
) -> None:
    lots, lines = tmp_path / "lots.csv", tmp_path / "lignes.txt"
    lots.write_text("réf,sku,quantité\nlot-1,LAMPE,12\nlot-2,LAMPE,5\n", encoding="utf-8")
    lines.write_bytes("commande\tarticle\tquantité\nc-é\tLAMPE\t1\n".encode("cp1252"))
    columns = ("--column", "id_commande=commande", "--column", "sku=article")
    reading = ("import", "commandes", str(lines), "--delimiter", r"\t", "--encoding", "cp1252", *columns)

    assert run("import", "lots", str(lots), "--update").status == 0
    assert run(*reading).status == 0
    assert run(*reading).status == 0
    assert run(*reading, "--append").status == 0

    assert [row["quantité"] for row in shop.fetch("SELECT quantité FROM lots ORDER BY référence", {})] == [
        12,
        5,
    ]
    found = shop.fetch("SELECT id_commande, ligne FROM order_lines WHERE id_commande <> 'c-1' ORDER BY 2", {})
    assert [(row["id_commande"], row["ligne"]) for row in found] == [("c-é", "1"), ("c-é", "2")]


@pytest.mark.parametrize(("parked", "given"), [("É1", " E\u03011 "), ("E\u03011", "E\u03011")])
def test_un_sku_mis_à_part_se_nomme_en_toute_forme(run: Run, shop: Database, parked: str, given: str) -> None:
    """The second is older than the rule that brings identifiers into one form."""
    with shop.working() as connection, connection.begin():
        ParkedEvents(connection, "stock_view").add(parked, [1], "illisible")

    shown = run("parked", "show", "stock_view", given)
    discarded = run("parked", "discard", "stock_view", given, "--yes")

    assert "no parked events" not in shown.stderr
    assert (discarded.status, discarded.stdout) == (0, f"{parked}: 1 events given up\n"), discarded


@pytest.mark.parametrize(
    "arguments",
    [
        ["migrate"],
        ["migrate", "--check"],
        ["rebuild", "stock_view"],
        ["verify"],
        ["parked", "list"],
        ["parked", "show", "stock_view", "LAMPE"],
        ["parked", "retry", "stock_view"],
        ["parked", "discard", "stock_view", "--yes"],
        ["journal"],
        ["journal", "archive", "--before", "2999-01-01"],
        ["projections"],
        ["worker"],
    ],
)
def test_une_base_absente_est_une_phrase_pour_chaque_commande(
    run: Run, free_port: int, arguments: list[str]
) -> None:
    url = f"postgresql://moi@127.0.0.1:{free_port}/absente?password=s3cret"

    finished = run(*arguments, ALLOCATION_DATABASE_URL=url)

    assert finished.status == 1
    assert finished.stderr.startswith("error: ")
    assert len(finished.stderr.splitlines()) == 1
    assert "s3cret" not in finished.stderr


@pytest.mark.parametrize("arguments", [["verify"], ["projections"], ["journal"], ["parked", "list"]])
def test_un_rôle_sans_droits_a_une_phrase_pour_réponse(
    run: Run, database: Database, database_url: str, arguments: list[str]
) -> None:
    with database.working() as connection, connection.begin():
        connection.exec_driver_sql(
            "DO $$ BEGIN CREATE ROLE personne LOGIN; EXCEPTION WHEN duplicate_object THEN END $$"
        )

    finished = run(*arguments, ALLOCATION_DATABASE_URL=f"{database_url}&options={quote('-c role=personne')}")

    assert (finished.status, len(finished.stderr.splitlines())) == (1, 1), finished
    assert finished.stderr.startswith("error: ")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ALLOCATION_POOL_SIZE", "beaucoup", "ALLOCATION_POOL_SIZE: "),
        ("ALLOCATION_LOG_LEVEL", "bavard", "ALLOCATION_LOG_LEVEL: "),
        ("ALLOCATION_SMTP_URL", "smtp://moi:s3cret@mail:port", "ALLOCATION_SMTP_URL: smtp://host:port"),
        ("ALLOCATION_DATABASE_URL", "mysql://moi:s3cret@db/shop", "only PostgreSQL is supported"),
    ],
)
def test_un_réglage_absurde_est_une_phrase(run: Run, variable: str, value: str, said: str) -> None:
    finished = run("config", **{variable: value})

    assert (finished.status, len(finished.stderr.splitlines())) == (2, 1)
    assert said in finished.stderr
    assert "s3cret" not in finished.stderr


def test_une_variable_mal_écrite_est_signalée_avec_la_plus_proche(run: Run) -> None:
    finished = run("config", ALLOCATION_POOLSIZE="8", ALLOCATION_ZZZ="1")

    assert finished.status == 0
    assert "warning: ALLOCATION_POOLSIZE is not a setting; ALLOCATION_POOL_SIZE is\n" in finished.stderr
    assert "warning: ALLOCATION_ZZZ is not a setting\n" in finished.stderr


@pytest.mark.parametrize("level", ["debug", "Debug", " WARNING "])
def test_le_niveau_du_journal_s_écrit_comme_on_veut(run: Run, level: str) -> None:
    finished = run("config", "--json", ALLOCATION_LOG_LEVEL=level)

    assert finished.status == 0
    assert f'"log_level": "{level.strip().upper()}"' in finished.stdout


def test_un_défaut_du_programme_est_une_phrase_et_debug_dit_où(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("inattendu")

    monkeypatch.setattr(read_models, "_of_name", broken)

    finished = run("verify", "stock_view")
    shown = run("verify", "stock_view", ALLOCATION_LOG_LEVEL="debug")

    assert (finished.status, len(finished.stderr.splitlines())) == (1, 1)
    assert "a defect of allocation: KeyError: 'inattendu'" in finished.stderr
    assert "Traceback" in shown.stderr


def test_ctrl_c_termine_chaque_commande_avec_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(read_models, "_of_name", interrupted)

    finished = run("verify", "stock_view")

    assert finished.status == 130
    assert "Traceback" not in finished.stderr


def test_une_sortie_qui_se_ferme_ne_laisse_pas_de_trace(shop: Database, database_url: str) -> None:
    bus = bootstrap(shop, inline=False)
    for n in range(200):
        bus.handle(Allouer(f"d-{n}", "LAMPE", 1))

    finished = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {ALLOCATION} journal --json | head -1"],
        env={"ALLOCATION_DATABASE_URL": database_url, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert '"position": 1' in finished.stdout
    assert finished.stderr == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_ce_que_la_sortie_ne_sait_pas_écrire_est_échappé_et_le_json_reste_du_json(
    shop: Database, database_url: str, encoding: str
) -> None:
    bootstrap(shop).handle(CréerLot("lot-é", "LAMPE-☃", 10))

    def printed(*arguments: str) -> bytes:
        environment = os.environ | {"ALLOCATION_DATABASE_URL": database_url, "PYTHONIOENCODING": encoding}
        return subprocess.run(
            [ALLOCATION, *arguments], env=environment, capture_output=True, check=True
        ).stdout

    last = json.loads(printed("journal", "--json").splitlines()[-1])
    plain = printed("journal").splitlines()[-1]

    assert (last["data"]["réf_lot"], last["data"]["sku"]) == ("lot-é", "LAMPE-☃")
    assert "lot-é".encode(encoding, "backslashreplace") in plain
    assert "LAMPE-☃".encode(encoding, "backslashreplace") in plain
    assert printed("--help")


def test_une_confirmation_sans_réponse_ne_change_rien(
    run: Run, shop: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    assert run("parked", "discard", "stock_view").status == 1
