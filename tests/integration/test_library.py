"""What the documentation shows in Python, run as it is printed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from tests.documents import DOCS, snippets

from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain.commands import CréerLot
from allocation.service_layer import MessageBus

PAGE = snippets(DOCS / "library.md")


@pytest.mark.embedded
def test_le_premier_programme_imprime_ce_que_la_page_montre_et_le_répète(place: Path) -> None:
    program, shown = PAGE["python"][0], PAGE["text"][0]

    printed = [_run([sys.executable, "-c", program], place) for _ in range(2)]

    assert printed == [shown, shown]


def test_le_test_que_la_page_montre_passe(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(PAGE["python"][1], "utf-8")

    printed = _run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"], tmp_path)

    assert "1 passed" in printed


def test_qui_relit_ce_qu_il_vient_d_écrire_le_fait_comme_la_page_le_montre(
    bus: MessageBus[PostgreSQLUnitOfWork],
) -> None:
    bus.handle(CréerLot("lot-001", "LAMPE-ROUGE", 100))
    [program] = snippets(DOCS / "how-to" / "read-your-writes.md")["python"]
    *statements, question = ast.parse(program).body
    assert isinstance(question, ast.Expr)
    names: dict[str, object] = {"bus": bus}

    exec(compile(ast.Module(statements, []), "page", "exec"), names)
    [line] = eval(compile(ast.Expression(question.value), "page", "eval"), names)

    assert line["réf_lot"] == "lot-001"


def _run(command: list[str], folder: Path) -> str:
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout
