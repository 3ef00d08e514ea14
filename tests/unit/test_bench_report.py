"""What the benchmarks make of what they measured."""

import json
import subprocess
import sys
from array import array
from collections import Counter
from pathlib import Path

import pytest
from benchmarks.findings import Figure, Finding, Series, Unit, at_least, at_most, failures_in
from benchmarks.load_result import LoadResult
from benchmarks.report import json_file, page
from benchmarks.report.terminal import row

PROJECT = Path(__file__).parents[2]

SLOW = Series("lente", Unit.RATE, [90.0, 110.0, 100.0])
FAST = Series("rapide", Unit.RATE, [250.0, 240.0, 900.0])


def test_une_figure_compare_les_médianes() -> None:
    figure = Figure("vitesse", FAST, at_least(2.4), SLOW)

    assert figure.number == 2.5
    assert figure.held
    assert row(figure) == ("vitesse", "250/s", "100/s", "2.50×", "≥ 2.40×", "yes")


@pytest.mark.parametrize(("values", "held"), [([0.08], "yes"), ([0.2], "no")])
def test_une_figure_sans_étalon_se_mesure_à_sa_valeur(values: list[float], held: str) -> None:
    figure = Figure("retard", Series("retard", Unit.SECONDS, values), at_most(0.1, Unit.SECONDS))

    assert row(figure)[-2:] == ("≤ 0.1 s", held)


def test_une_requête_manquée_est_un_problème() -> None:
    good = Series("bonne", Unit.RATE, [1.0], [LoadResult(statuses=Counter({201: 5}))])
    bad = Series("mauvaise", Unit.RATE, [1.0], [LoadResult(statuses=Counter({201: 5, 503: 1}), lost=1)])

    assert failures_in(good) == []
    assert failures_in(good, bad) == ["mauvaise: 2 requests failed; the answers were 5 × 201, 1 × 503"]


def test_la_page_et_le_fichier_json_disent_la_même_chose(tmp_path: Path) -> None:
    load = LoadResult(Counter({200: 2}), array("d", [0.001, 0.002]), seconds=1.0)
    series = (SLOW, Series("rapide", Unit.RATE, FAST.values, [load]))
    figures = [Figure("vitesse", series[1], at_least(4), SLOW)]
    finding = Finding("vitesse", "Vitesse", "Comment.", series, figures, ["Remarque."], ["Problème."])

    json_file.write(tmp_path / "latest.json", [finding], {"system": "Linux"}, "quick")
    page.write(tmp_path / "README.md", [finding], {"system": "Linux"}, "quick")

    [written] = json.loads((tmp_path / "latest.json").read_text("utf-8"))["findings"]
    assert written["figures"] == [{"name": "vitesse", "number": 2.5, "target": "≥ 4.00×", "held": False}]
    assert written["series"][1]["loads"][0]["latency_ms"] == {"p50": 1.0, "p95": 2.0, "p99": 2.0}
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "| vitesse | 250/s | 100/s | 2.50× | ≥ 4.00× | no |" in text
    assert "![Vitesse](vitesse.svg)" in text
    assert "**Not to be believed:** Problème." in text


def test_l_aide_des_mesures_s_affiche_sans_leurs_outils() -> None:
    command = [sys.executable, "-m", "benchmarks", "--help"]
    finished = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    assert finished.returncode == 0, finished.stderr
    assert "--quick" in finished.stdout
