"""The other commands: what they print, where, and with which exit status."""

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ALLOCATION, RunAllocation
from tests.waiting import eventually, wait_until_blocked
from typer.testing import CliRunner

from allocation.adapters.postgresql.database import Database
from allocation.domain.commands import Allouer, CréerLot
from allocation.entrypoints.cli.app import app
from allocation.projections.projector import catch_up
from allocation.service_layer.bootstrap import bootstrap, projection_followers

COMMANDS = [
    ["serve"],
    ["worker"],
    ["migrate"],
    ["import", "lots"],
    ["import", "commandes"],
    ["rebuild"],
    ["verify"],
    ["parked", "list"],
    ["parked", "show"],
    ["parked", "retry"],
    ["parked", "discard"],
    ["journal"],
    ["journal", "archive"],
    ["projections"],
    ["config"],
]

AllocationJson = Callable[..., Any]


@pytest.fixture
def stocked(database: Database) -> Database:
    """Two lots, one allocated line and one that found no stock."""
    bus = bootstrap(database)
    bus.handle(CréerLot("lot-1", "LAMPE", 10))
    bus.handle(CréerLot("lot-2", "[b]TABLE[/b]", 10))
    bus.handle(Allouer("c-1", "LAMPE", 3))
    bus.handle(Allouer("c-2", "LAMPE", 30))
    return database


@pytest.fixture
def fichier(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a CSV file; its path."""

    def write(content: str, encoding: str = "utf-8") -> Path:
        path = tmp_path / "fichier.csv"
        path.write_text(content, encoding=encoding)
        return path

    return write


def test_l_aide_nomme_chaque_commande_et_chacune_a_un_exemple() -> None:
    runner = CliRunner()
    overview = runner.invoke(app, ["--help"]).output

    for command in COMMANDS:
        assert command[0] in overview
        of_command = runner.invoke(app, [*command, "--help"])
        assert of_command.exit_code == 0
        assert "Example: " in of_command.output, command


@pytest.mark.parametrize(
    "arguments",
    [
        ["inconnu"],
        ["rebuild"],
        ["serve", "--port", "0"],
        ["import", "lots"],
        ["journal", "archive"],
        ["journal", "archive", "--before", "hier"],
    ],
)
def test_une_commande_mal_employée_se_termine_par_2(allocation: RunAllocation, arguments: list[str]) -> None:
    finished = allocation(*arguments)

    assert finished.returncode == 2
    assert finished.stderr


def test_une_variable_absurde_est_nommée(allocation: RunAllocation) -> None:
    finished = allocation("verify", ALLOCATION_POOL_SIZE="beaucoup")

    assert finished.returncode == 2
    assert "ALLOCATION_POOL_SIZE" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_une_autre_base_que_postgresql_est_refusée(allocation: RunAllocation) -> None:
    finished = allocation("verify", ALLOCATION_DATABASE_URL="sqlite:///x.db")

    assert finished.returncode == 2
    assert "only PostgreSQL is supported" in finished.stderr


def test_une_base_absente_est_une_erreur_sans_trace(allocation: RunAllocation, free_port: int) -> None:
    url = f"postgresql://moi:secret@127.0.0.1:{free_port}/absente"

    finished = allocation("verify", ALLOCATION_DATABASE_URL=url)

    assert finished.returncode == 1
    assert "error:" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert "secret" not in finished.stderr


def test_un_schéma_plus_récent_est_refusé(allocation: RunAllocation, database: Database) -> None:
    with database.working() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.exec_driver_sql("UPDATE schema_compatibility SET oldest_program = '9999'")

    finished = allocation("migrate")

    assert finished.returncode == 1
    assert "schema 9999" in finished.stderr


def test_migrate_est_seul_à_migrer_et_dit_d_abord_ce_qu_il_ferait(
    allocation: RunAllocation, database: Database
) -> None:
    with database.working() as connection, connection.begin():
        connection.exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        connection.exec_driver_sql("DROP SCHEMA IF EXISTS allocation_building, allocation_previous CASCADE")

    refused = allocation("verify")
    to_do, done, nothing = (allocation("migrate", *check) for check in (["--check"], [], ["--check"]))

    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    assert "no tables of allocation yet: bring it up to date first" in refused.stderr
    assert (to_do.returncode, done.returncode, nothing.returncode) == (3, 0, 0)
    assert "0001: The write model" in to_do.stdout
    assert to_do.stdout in done.stdout
    assert nothing.stdout == "The schema is up to date.\n"


def test_verify_ne_dit_rien_sur_la_sortie_quand_tout_est_juste(
    allocation: RunAllocation, stocked: Database
) -> None:
    finished = allocation("verify")

    assert (finished.returncode, finished.stdout) == (0, "")
    assert "No difference." in finished.stderr


def test_verify_imprime_chaque_différence_et_se_termine_par_1(
    allocation: RunAllocation, stocked: Database
) -> None:
    with stocked.working() as connection, connection.begin():
        connection.exec_driver_sql("DELETE FROM allocations_view")

    finished, as_json = allocation("verify"), allocation("verify", "--json")

    assert (finished.returncode, as_json.returncode) == (1, 1)
    assert "allocations_view: missing" in finished.stdout
    assert json.loads(as_json.stdout) == {
        "comparison": "allocations_view",
        "missing": True,
        "row": {"id_commande": "c-1", "sku": "LAMPE", "réf_lot": "lot-1", "quantité": 3, "ligne": "1"},
    }


def test_rebuild_remet_les_lignes_et_nomme_les_vues_qu_il_connaît(
    allocation: RunAllocation, stocked: Database
) -> None:
    with stocked.working() as connection, connection.begin():
        connection.exec_driver_sql("DELETE FROM allocations_view")

    rebuilt, unknown = allocation("rebuild", "allocations_view"), allocation("rebuild", "inconnue")

    assert (rebuilt.returncode, rebuilt.stdout) == (
        0,
        "allocations_view: rebuilt from the model, 1 rows\n",
    )
    assert allocation("verify").returncode == 0
    assert unknown.returncode == 2
    assert "allocations_view, lots_view, stock_view" in unknown.stderr


def test_rebuild_undo_revient_à_la_table_d_avant_s_il_y_en_a_une(
    allocation: RunAllocation, allocation_json: AllocationJson, stocked: Database
) -> None:
    refused = allocation("rebuild", "stock_view", "--undo")
    [rebuilt] = allocation_json("rebuild", "stock_view", "--from", "journal", "--throttle", "100000")
    undone = allocation("rebuild", "stock_view", "--undo")

    assert (refused.returncode, "has not been rebuilt" in refused.stderr) == (2, True)
    assert (rebuilt["phase"], rebuilt["source"], rebuilt["fait"]) == ("done", "journal", 4)
    assert (undone.returncode, undone.stdout) == (0, "stock_view: the earlier table serves again\n")
    assert allocation("verify").returncode == 0


def test_verify_repair_répare_les_vues(allocation: RunAllocation, stocked: Database) -> None:
    with stocked.working() as connection, connection.begin():
        connection.exec_driver_sql("DELETE FROM allocations_view")
        connection.exec_driver_sql("UPDATE stock_view SET disponible = 0")

    one, all_ = allocation("verify", "allocations_view", "--repair"), allocation("verify", "--repair")

    assert (one.returncode, all_.returncode) == (0, 0)
    assert "allocations_view: rebuilt" in one.stderr
    assert "stock_view" not in one.stdout
    assert "stock_view: unexpected" in all_.stdout
    assert allocation("verify").returncode == 0


def test_verify_repair_refuse_de_toucher_au_modèle_d_écriture_et_dit_pourquoi(
    allocation: RunAllocation, stocked: Database
) -> None:
    with stocked.working() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE lots SET quantité_allouée = 4 WHERE référence = 'lot-1'")

    finished = allocation("verify", "--repair")

    assert finished.returncode == 1
    assert "not repaired: lots: quantité_allouée against the allocated lines" in finished.stderr
    assert "no program can tell which is right" in finished.stderr
    assert allocation("verify").returncode == 1


def test_parked_montre_retente_et_abandonne(
    allocation: RunAllocation, allocation_json: AllocationJson, stocked: Database, database_url: str
) -> None:
    with stocked.working() as connection, connection.begin():
        connection.exec_driver_sql("UPDATE projections SET position = 2 WHERE name = 'allocations_view'")
        connection.exec_driver_sql("DELETE FROM allocations_view")
        connection.exec_driver_sql(
            "UPDATE journal SET réf_lot = NULL, data = data - 'réf_lot' WHERE position = 3"
        )
    catch_up(projection_followers(stocked), 4)
    [summary] = allocation_json("parked", "list")
    assert (summary["lecteur"], summary["sku"], summary["events"]) == ("allocations_view", "LAMPE", 1)
    [shown] = allocation_json("parked", "show", "allocations_view", "LAMPE")
    assert shown["data"]["id_commande"] == "c-1"
    failed = allocation("parked", "retry", "allocations_view")
    assert (failed.returncode, "réf_lot" in failed.stderr) == (1, True)
    unknown = allocation("parked", "retry", "allocations_view", "AUTRE")
    assert (unknown.returncode, "has no parked events of AUTRE" in unknown.stderr) == (2, True)

    with stocked.working() as connection, connection.begin():
        connection.exec_driver_sql(
            "UPDATE journal SET réf_lot = 'lot-1', data = data || jsonb_build_object('réf_lot', 'lot-1')"
            " WHERE position = 3"
        )
    retried = allocation("parked", "retry", "allocations_view")

    assert (retried.returncode, retried.stdout) == (0, "LAMPE: applied\n")
    assert allocation("verify").returncode == 0
    assert "Nothing is parked." in allocation("parked", "list").stderr


def test_journal_imprime_les_événements_dans_l_ordre(
    allocation: RunAllocation, allocation_json: AllocationJson, stocked: Database
) -> None:
    lines = allocation_json("journal")

    assert [line["type"] for line in lines] == ["LotCréé", "LotCréé", "Alloué", "RuptureDeStock"]
    assert lines[2]["data"]["id_commande"] == "c-1"
    assert [line["position"] for line in allocation_json("journal", "--after", "2")] == [3, 4]
    assert "[b]TABLE[/b]" in allocation("journal").stdout


def test_journal_dit_par_quelle_commande_chaque_événement_est_venu(
    allocation: RunAllocation, allocation_json: AllocationJson, stocked: Database
) -> None:
    lines = allocation_json("journal")

    assert [line["commande"] for line in lines] == ["CréerLot", "CréerLot", "Allouer", "Allouer"]
    assert len({line["cause"] for line in lines}) == 4
    assert "(Allouer)" in allocation("journal").stdout


class TestArchive:
    def test_ce_qui_est_archivé_s_imprime_encore_et_verify_n_y_perd_rien(
        self, allocation: RunAllocation, allocation_json: AllocationJson, stocked: Database, tmp_path: Path
    ) -> None:
        before = allocation_json("journal")

        [report] = allocation_json("journal", "archive", "--before", "2999-01-01", "--dir", str(tmp_path))

        assert (report["events"], report["position"], report["held_back_by"]) == (3, 3, None)
        assert [Path(path).name for path in report["files"]] == ["journal-000000000001-000000000003.jsonl.gz"]
        assert Path(report["snapshot"]).exists()
        assert allocation_json("journal") == before
        assert [line["position"] for line in allocation_json("journal", "--after", "2")] == [3, 4]
        assert allocation("verify").returncode == 0

    def test_sans_dossier_nommé_c_est_celui_des_réglages(
        self, allocation: RunAllocation, stocked: Database, tmp_path: Path
    ) -> None:
        folder = tmp_path / "archives"

        finished = allocation(
            "journal", "archive", "--before", "2999-01-01T00:00:00+01:00", ALLOCATION_ARCHIVE_DIR=str(folder)
        )

        assert finished.returncode == 0
        assert "3 events moved to 1 files" in finished.stdout
        assert len(list(folder.iterdir())) == 2

    def test_qui_en_a_encore_besoin_est_nommé(
        self, allocation: RunAllocation, stocked: Database, tmp_path: Path
    ) -> None:
        with stocked.working() as connection, connection.begin():
            connection.exec_driver_sql("UPDATE projections SET position = 1 WHERE name = 'lots_view'")

        finished = allocation("journal", "archive", "--before", "2999-01-01", "--dir", str(tmp_path))

        assert finished.returncode == 0
        assert "1 events moved" in finished.stdout
        assert "Held back by projection lots_view, which is at position 1." in finished.stderr

    def test_tué_entre_le_fichier_et_la_validation_il_recommence_sans_perte(
        self,
        allocation: RunAllocation,
        allocation_json: AllocationJson,
        stocked: Database,
        database_url: str,
        tmp_path: Path,
    ) -> None:
        before = allocation_json("journal")
        command = [ALLOCATION, "journal", "archive", "--before", "2999-01-01", "--dir", str(tmp_path)]
        with stocked.working() as connection, connection.begin():
            connection.exec_driver_sql("LOCK TABLE journal_archives IN SHARE MODE")
            with subprocess.Popen(command, env=os.environ | {"ALLOCATION_DATABASE_URL": database_url}) as run:
                wait_until_blocked(stocked)
                run.kill()
        [stray] = tmp_path.glob("journal-*")
        assert allocation_json("journal") == before

        finished = allocation(*command[1:])

        assert (finished.returncode, run.returncode) == (0, -signal.SIGKILL)
        assert str(stray) in finished.stdout
        assert allocation_json("journal") == before
        assert allocation("verify").returncode == 0

    def test_un_fichier_qui_manque_est_une_erreur_sans_trace(
        self, allocation: RunAllocation, allocation_json: AllocationJson, stocked: Database, tmp_path: Path
    ) -> None:
        allocation_json("journal", "archive", "--before", "2999-01-01", "--dir", str(tmp_path))
        for path in tmp_path.iterdir():
            path.unlink()

        for command in ("journal", "verify"):
            finished = allocation(command)
            assert finished.returncode == 1
            assert "No such file" in finished.stderr
            assert "Traceback" not in finished.stderr


def test_journal_follow_continue_avec_ce_qui_vient(stocked: Database, database_url: str) -> None:
    environment = os.environ | {"ALLOCATION_DATABASE_URL": database_url}
    command = [ALLOCATION, "journal", "--follow", "--json", "--after", "4"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        bootstrap(stocked, inline=False).handle(Allouer("c-3", "LAMPE", 1))

        first = json.loads(following.stdout.readline())
        bootstrap(stocked, inline=False).handle(Allouer("c-4", "LAMPE", 1))
        second = json.loads(following.stdout.readline())
        following.terminate()

    assert [event["data"]["id_commande"] for event in (first, second)] == ["c-3", "c-4"]
    assert following.returncode == 143


def test_projections_dit_où_en_est_chaque_lecteur(
    allocation: RunAllocation, allocation_json: AllocationJson, stocked: Database
) -> None:
    bootstrap(stocked, inline=False).handle(Allouer("c-3", "LAMPE", 1))

    stand = {line["name"]: line for line in allocation_json("projections")}

    assert (stand["stock_view"]["position"], stand["stock_view"]["behind"]) == (4, 1)
    assert stand["stock_view"]["lag_s"] > 0
    assert "stock_view" in allocation("projections").stdout


def test_config_montre_les_valeurs_et_cache_les_mots_de_passe(allocation: RunAllocation) -> None:
    variables = {
        "ALLOCATION_DATABASE_URL": "postgresql://moi:secret@db/boutique",
        "ALLOCATION_SMTP_URL": "smtps://moi:secret@mail.exemple.fr",
    }

    table, as_json = allocation("config", **variables), allocation("config", "--json", **variables)

    assert json.loads(as_json.stdout)["database_url"] == "postgresql://moi:***@db/boutique"
    assert "ALLOCATION_SMTP_URL" in table.stdout
    assert "secret" not in table.stdout + as_json.stdout


class TestImport:
    def test_des_lots_avec_et_sans_arrivée(
        self, allocation_json: AllocationJson, fichier: Callable[[str], Path], database: Database
    ) -> None:
        path = fichier("ref,sku,qty,eta\nlot-1,LAMPE,10,\nlot-2,LAMPE,5,2027-01-31\n")

        [first], [again] = (allocation_json("import", "lots", str(path)) for _ in range(2))

        assert (first["received"], first["repeated"]) == (2, 0)
        assert (again["received"], again["repeated"]) == (0, 2)
        with database.reading() as connection:
            [row] = connection.exec_driver_sql("SELECT * FROM stock_view").mappings()
        assert (row["en_stock"], row["en_transit"], str(row["prochaine_eta"])) == (10, 5, "2027-01-31")

    def test_chaque_mauvaise_ligne_est_rendue_avec_sa_raison_et_le_reste_continue(
        self, allocation: RunAllocation, fichier: Callable[[str], Path], stocked: Database
    ) -> None:
        path = fichier(
            "orderid;sku;qty;remarque\n"
            "c-10;LAMPE;1;bonne\n"
            "c-11;LAMPE;0;\n"
            "c-12;LAMPE;1,5;\n"
            "c-13;INCONNU;1;\n"
            ";LAMPE;1;\n"
            "c-14;LAMPE\n"
            "c-15;LAMPE;1_0;\n"
            '"c-16;LAMPE;1;\n'
            "c-1;LAMPE;4;autre quantité\n"
            "c-17;LAMPE;2;bonne\n"
            "c-18;LAMPE;50;rupture\n"
        )

        finished = allocation("import", "commandes", str(path), "--json")

        counts = json.loads(finished.stdout)
        del counts["lines/s"]
        assert finished.returncode == 3
        assert counts == {
            "allocated": 2,
            "repeated": 0,
            "out of stock": 1,
            "rejected": 8,
            "repeated by place": 0,
            "incomplete orders": 8,
        }
        header, *rejected = path.with_name("fichier.csv.rejected.csv").read_text("utf-8").splitlines()
        assert header == "orderid;sku;qty;remarque;ligne;ligne_du_fichier;raison"
        assert path.with_name("fichier.csv.out-of-stock.csv").exists()
        assert "Incomplete orders: 8" in finished.stderr
        assert [line.split(";")[-2:] for line in rejected] == [
            ["3", "quantité : de 1 à 1000000000 unités sont attendues, non 0"],
            ["4", "quantité : un nombre entier d'unités est attendu, non « 1,5 »"],
            ["5", "SKU inconnu : INCONNU"],
            ["6", "id_commande : de 1 à 255 caractères sont attendus, non 0"],
            ["7", "ligne du fichier : 4 colonnes sont attendues, non 2"],
            ["8", "quantité : un nombre entier d'unités est attendu, non « 1_0 »"],
            ["9", "ligne du fichier : CSV malformé : unexpected end of data"],
            ["10", "La ligne 1 de la commande c-1 pour LAMPE est connue avec la quantité 3, non 4"],
        ]

    def test_les_lignes_répétées_sont_numérotées_dans_l_ordre_du_fichier_même_les_refusées(
        self,
        allocation: RunAllocation,
        allocation_json: AllocationJson,
        fichier: Callable[[str], Path],
        stocked: Database,
    ) -> None:
        """A file whose bad line was mended can be imported again: the other lines keep their numbers."""
        lines = ["c-10,LAMPE,1", "c-10,LAMPE,{}", "c-11,LAMPE,1", "c-10,LAMPE,2"]
        content = "\n".join(["id_commande,sku,quantité", *lines])

        refused = allocation("import", "commandes", str(fichier(content.format("-1"))), "--json")
        first = json.loads(refused.stdout)
        [mended] = allocation_json("import", "commandes", str(fichier(content.format("1"))))

        assert (first["allocated"], first["rejected"]) == (3, 1)
        assert (mended["allocated"], mended["repeated"], mended["rejected"]) == (1, 3, 0)

    def test_une_colonne_ligne_du_fichier_est_respectée(
        self, allocation_json: AllocationJson, fichier: Callable[[str], Path], stocked: Database
    ) -> None:
        path = fichier("id_commande,sku,quantité,ligne\nc-10,LAMPE,1,A\nc-10,LAMPE,1,A\nc-10,LAMPE,1,B\n")

        [counts] = allocation_json("import", "commandes", str(path))

        assert (counts["allocated"], counts["repeated"]) == (2, 1)

    @pytest.mark.parametrize(
        ("content", "options", "said"),
        [
            ("order,sku,qty\n", [], "0 columns are called id_commande or orderid"),
            ("orderid,sku,qty,qty\n", [], "2 columns are called"),
            ("orderid,sku,qty\n", ["--column", "sku=Article"], "0 columns are called Article"),
            ("orderid,sku,qty\n", ["--column", "prix=sku"], "there is no field called prix"),
            ("orderid,sku,qty\n", ["--column", "sku"], "FIELD=HEADER is expected"),
            ("", [], "the file is empty"),
            ("orderid,sku,qty\n", ["--encoding", "klingon"], "there is no such text encoding"),
        ],
    )
    def test_un_fichier_dont_les_colonnes_manquent_est_refusé_en_entier(
        self,
        allocation: RunAllocation,
        fichier: Callable[[str], Path],
        content: str,
        options: list[str],
        said: str,
    ) -> None:
        finished = allocation("import", "commandes", str(fichier(content)), *options)

        assert finished.returncode == 2
        assert said in finished.stderr

    def test_le_tableau_final_compte_et_dit_où_sont_les_lignes_refusées(
        self, allocation: RunAllocation, fichier: Callable[[str], Path], stocked: Database
    ) -> None:
        path = fichier("id_commande,sku,quantité\nc-10,LAMPE,1\nc-11,LAMPE,x\n")

        finished = allocation("import", "commandes", str(path))

        assert finished.returncode == 3
        for word in ("allocated", "repeated", "out of stock", "rejected", "lines/s"):
            assert word in finished.stdout
        assert f"{path}.rejected.csv" in finished.stderr

    def test_un_tuyau_se_lit_et_ce_qui_est_refusé_va_dans_le_dossier_courant(
        self, stocked: Database, database_url: str, tmp_path: Path
    ) -> None:
        content = "printf 'id_commande,sku,qty\\nc-10,LAMPE,1\\nc-11,LAMPE,x\\n' | gzip"
        first, second = (
            subprocess.run(
                ["bash", "-c", f"{content} | {ALLOCATION} import commandes {name} --json"],
                cwd=tmp_path,
                env=os.environ | {"ALLOCATION_DATABASE_URL": database_url, "COLUMNS": "200"},
                capture_output=True,
                text=True,
                check=False,
            )
            for name in ("-", "/dev/stdin")
        )

        assert (first.returncode, second.returncode) == (3, 3), first.stderr + second.stderr
        assert json.loads(second.stdout)["repeated by place"] == 1
        assert "taken for repetitions of known lines as when a file is imported again: 1." in second.stderr
        assert {path.name for path in tmp_path.iterdir()} == {"stdin.rejected.csv", "stdin.rejected.2.csv"}

    @pytest.mark.parametrize(("stop_signal", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_l_interruption_dit_ce_qui_est_fait(
        self,
        stocked: Database,
        database_url: str,
        fichier: Callable[[str], Path],
        stop_signal: signal.Signals,
        status: int,
    ) -> None:
        path = fichier("id_commande,sku,qty\n" + "".join(f"c-{n},LAMPE,1\n" for n in range(100_000)))
        command = [ALLOCATION, "import", "commandes", str(path), "--json"]
        environment = os.environ | {"ALLOCATION_DATABASE_URL": database_url, "COLUMNS": "200"}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as running:
            eventually(lambda: _count(stocked, "order_lines") > 1)
            running.send_signal(stop_signal)
            stdout, stderr = running.communicate()

        counts = json.loads(stdout)
        done = sum(counts[outcome] for outcome in ("allocated", "repeated", "out of stock", "rejected"))
        assert running.returncode == status
        assert (
            f"Stopped after line {done + 1}: the lines up to it are done, those after it are not." in stderr
        )
        assert "Traceback" not in stderr
        assert _count(stocked, "order_lines") == counts["allocated"] + 1

    def test_check_n_a_pas_besoin_d_une_base(
        self, allocation: RunAllocation, fichier: Callable[[str], Path], free_port: int
    ) -> None:
        path = fichier("réf,sku,qty,eta\nlot-1,LAMPE,10,31/12/2027\nlot-2,LAMPE,10,demain\n")
        nowhere = f"postgresql://127.0.0.1:{free_port}/absente"

        finished = allocation(
            *("import", "lots", str(path), "--check", "--date-format", "dd/mm/yyyy"),
            ALLOCATION_DATABASE_URL=nowhere,
        )

        assert finished.returncode == 3
        assert "line 3: eta : une date comme 31/01/2027 est attendue, non « demain »" in finished.stdout

    def test_la_base_qui_part_au_milieu_arrête_l_import_sans_rien_défaire(
        self, allocation: RunAllocation, fichier: Callable[[str], Path], stocked: Database
    ) -> None:
        path = fichier("id_commande,sku,quantité\n" + "".join(f"c-{n},LAMPE,1\n" for n in range(20, 24)))
        with stocked.working() as connection, connection.begin():
            connection.exec_driver_sql(
                "CREATE FUNCTION tomber() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN IF NEW.id_commande = 'c-22' THEN RAISE EXCEPTION 'parti' USING ERRCODE = '57P01';"
                " END IF; RETURN NEW; END $$"
            )
            connection.exec_driver_sql(
                "CREATE TRIGGER tomber BEFORE INSERT ON order_lines FOR EACH ROW EXECUTE FUNCTION tomber()"
            )

        finished = allocation("import", "commandes", str(path))
        with stocked.working() as connection, connection.begin():
            connection.exec_driver_sql("DROP TRIGGER tomber ON order_lines")
        again = allocation("import", "commandes", str(path), "--json")

        assert finished.returncode == 1
        assert "error:" in finished.stderr
        counts = json.loads(again.stdout)
        # Which lines shared the transaction that failed, and so were not done before, is a matter of timing.
        assert counts["allocated"] + counts["repeated"] == 4
        assert counts["allocated"] >= 1


def _count(database: Database, table: str) -> int:
    with database.reading() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
