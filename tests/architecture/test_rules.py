"""Rules about the code that no linter knows. The direction of imports is import-linter's, in `make check`."""

import ast
import re
import subprocess
import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

import allocation
from allocation.domain.events import Event
from allocation.domain.ledger import Compartiment
from allocation.entrypoints import flask_app

PACKAGE = Path(allocation.__file__).parent
PROJECT = Path(__file__).parents[2]
LEDGER = PACKAGE / "adapters" / "journal" / "ledger.py"
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if "versions" not in path.parts and path.name != "env.py"
)

# Everything whose creation at import would be an effect: connections, pools, servers, threads, processes.
_WATCH = """
import importlib, socket, subprocess, sys, threading
import sqlalchemy
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event in
    {"socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.mkdir", "sqlite3.connect"} else None)
sqlalchemy.event.listen(sqlalchemy.Engine, "engine_connect", lambda *_: seen.append("engine_connect"))
create_engine = sqlalchemy.create_engine
sqlalchemy.create_engine = lambda *a, **k: seen.append("create_engine") or create_engine(*a, **k)
for name in sys.argv[1:]:
    importlib.import_module(name)
assert threading.active_count() == 1, threading.enumerate()
assert not seen, seen
"""


def sources() -> Iterator[Path]:
    for folder in ("src", "tests", "benchmarks"):
        yield from (PROJECT / folder).rglob("*.py")


def test_le_domaine_n_importe_que_la_bibliothèque_standard_et_lui_même() -> None:
    for path in (PACKAGE / "domain").glob("*.py"):
        for name in _imported(path):
            root = name.partition(".")[0]
            assert root in sys.stdlib_module_names or name.startswith("allocation.domain"), (path, name)


def test_importer_un_module_ne_fait_rien() -> None:
    finished = subprocess.run(
        [sys.executable, "-B", "-c", _WATCH, *MODULES], capture_output=True, text=True, check=False
    )

    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        (
            "allocation.entrypoints.cli",
            {"allocation.entrypoints.serving.processes", "pydantic", "sqlalchemy"},
        ),
        ("allocation.entrypoints.serving.processes", {"alembic", "typer"}),
    ],
)
def test_un_démarrage_ne_charge_que_ce_qu_il_lui_faut(module: str, unneeded: set[str]) -> None:
    """`--help` needs neither the database nor the server; the server has no use for Alembic."""
    program = f"import sys, {module}; print(*({unneeded!r} & sys.modules.keys()))"
    finished = subprocess.run(
        [sys.executable, "-B", "-c", program], capture_output=True, text=True, check=True
    )

    assert finished.stdout.split() == []


def test_les_accents_sont_composés_partout() -> None:
    """An accent can be written in two ways; two names that look alike must be the same name."""
    for path in sources():
        text = path.read_text(encoding="utf-8")
        assert unicodedata.is_normalized("NFC", text), path


def test_aucun_test_n_attend_en_dormant() -> None:
    for path in (PROJECT / "tests").rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        assert "sleep" not in {getattr(call.func, "attr", getattr(call.func, "id", "")) for call in calls}, (
            path
        )


def test_un_module_tient_en_deux_cent_cinquante_lignes() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 250, path


def test_un_nom_de_type_n_est_donné_qu_une_fois() -> None:
    """A schema of HTTP may be named after what it shows."""
    schemas = PACKAGE / "entrypoints" / "http" / "schemas"
    places = defaultdict(list)
    for path in PACKAGE.rglob("*.py"):
        if not path.is_relative_to(schemas):
            for name in _types_named_in(path):
                places[name].append(path)

    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}


def test_qui_répond_à_une_commande_ne_cherche_pas_dans_ses_événements() -> None:
    """What came of a command stands in its results."""
    entrypoints = PACKAGE / "entrypoints"
    for path in (entrypoints / "http" / "commands.py", *(entrypoints / "csv_files").glob("*.py")):
        assert "allocation.domain.events" not in set(_imported(path)), path


def test_l_application_se_construit_au_premier_usage(
    monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("ALLOCATION_DATABASE_URL", database_url)

    assert isinstance(flask_app.app, Flask)
    assert flask_app.app is flask_app.app


def test_un_seul_module_sait_comment_les_événements_sont_dans_le_journal() -> None:
    """Names of types and compartments, and fields in `data`: all other SQL gets them from the ledger."""
    types = "|".join(each.__name__ for each in Event.__subclasses__())
    known_to_the_ledger = re.compile(
        rf"'({types}|{'|'.join(Compartiment)})'|^({types})$|\bdata\s*(->|#>|\?|@)"
    )
    spelled_out = {
        (path.relative_to(PACKAGE).as_posix(), text)
        for path in PACKAGE.rglob("*.py")
        if path != LEDGER and not {"domain", "migrations"} & set(path.relative_to(PACKAGE).parts)
        for text in _strings(path)
        if known_to_the_ledger.search(text)
    }

    assert not spelled_out


def _strings(path: Path) -> Iterator[str]:
    """Every constant text of a module, those within an f-string as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _types_named_in(path: Path) -> Iterator[str]:
    """The names of the classes and type aliases of a module that others may use."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case (
                ast.ClassDef(name=name)
                | ast.AnnAssign(target=ast.Name(id=name), annotation=ast.Name(id="TypeAlias"))
            ) if not name.startswith("_"):
                yield name


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
