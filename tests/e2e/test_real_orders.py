"""A real shop's order lines, imported or asked for over HTTP: who gets what, as calculated independently."""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest
from tests.e2e.conftest import RunAllocation, Service

from allocation.adapters.postgresql.database import Database

SAMPLE = Path(__file__).parents[2].parent / "shared" / "data" / "online_retail_sample.csv"
COLUMNS = ("--column", "id_commande=InvoiceNo", "--column", "sku=StockCode", "--column", "quantité=Quantity")

Lines = dict[tuple[str, str, str], int]


@dataclass
class OracleLot:
    """A lot as the oracle knows it: four values and a subtraction."""

    réf: str
    sku: str
    left: int
    eta: str


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A copy of the sample, beside which rejected lines may be written."""
    if not SAMPLE.exists():
        pytest.skip(f"the sample of UCI's Online Retail data set (DOI 10.24432/C5BW33) is not at {SAMPLE}")
    copy = tmp_path / SAMPLE.name
    copy.write_bytes(SAMPLE.read_bytes())
    return copy


def sound_lines(orders: Path) -> Lines:
    """The lines that can be allocated, numbered within their order and SKU, in the order of the file."""
    seen: Counter[tuple[str, str]] = Counter()
    lines: Lines = {}
    with orders.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            order, sku, units = row["InvoiceNo"], row["StockCode"], int(row["Quantity"])
            seen[order, sku] += 1
            if units > 0:
                lines[order, sku, str(seen[order, sku])] = units
    return lines


def lots_for(lines: Lines, *, percent: int) -> list[OracleLot]:
    """For each SKU, lots that together hold `percent` of its demand, rounded down: half of it in transit.

    Those of all SKUs have the same few references.
    """
    demand: Counter[str] = Counter()
    for (_, sku, _), units in lines.items():
        demand[sku] += units
    lots = []
    for sku, units in demand.items():
        stock = units * percent // 100
        parts = {"": stock - stock // 2, "2027-02-01": stock // 2 - stock // 4, "2027-01-01": stock // 4}
        lots += [OracleLot(f"lot/{eta}", sku, part, eta) for eta, part in parts.items() if part]
    return lots


def whole_stock(lines: Lines) -> list[OracleLot]:
    """One lot for each SKU with just what is asked of it."""
    demand: Counter[str] = Counter()
    for (_, sku, _), units in lines.items():
        demand[sku] += units
    return [OracleLot(sku, sku, units, "") for sku, units in demand.items()]


def oracle(lines: Lines, lots: list[OracleLot]) -> dict[tuple[str, str, str], str | None]:
    """Who gets which lot: warehouse, then earliest arrival, then first received; lines are whole."""
    of_sku: dict[str, list[OracleLot]] = defaultdict(list)
    for lot in sorted(lots, key=attrgetter("eta")):
        of_sku[lot.sku].append(lot)
    answer: dict[tuple[str, str, str], str | None] = {}
    for line, units in lines.items():
        chosen = next((lot for lot in of_sku[line[1]] if lot.left >= units), None)
        answer[line] = chosen.réf if chosen else None
        if chosen:
            chosen.left -= units
    return answer


def receive(run: RunAllocation, lots: list[OracleLot], folder: Path) -> None:
    path = folder / "lots.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["réf", "sku", "quantité", "eta"])
        writer.writerows([lot.réf, lot.sku, lot.left, lot.eta] for lot in lots)
    counts = json.loads(run("import", "lots", str(path), "--json").stdout)
    assert (counts["received"], counts["rejected"]) == (len(lots), 0)


def imported(allocation: RunAllocation, orders: Path) -> dict[str, int]:
    """The counts of an import that has something to hand back."""
    finished = allocation("import", "commandes", str(orders), *COLUMNS, "--json")
    assert finished.returncode == 3, finished.stderr
    return _without_rate(json.loads(finished.stdout))


def incomplete(
    orders: Path, answers: Mapping[tuple[str, str, str], str | None] = MappingProxyType({})
) -> int:
    """How many orders have a line that is unsound, or that got no lot."""
    without = {order for (order, _, _), réf in answers.items() if réf is None}
    with orders.open(encoding="utf-8", newline="") as file:
        return len(without | {row["InvoiceNo"] for row in csv.DictReader(file) if int(row["Quantity"]) < 1})


def allocated(database: Database) -> dict[tuple[str, str, str], str]:
    """What the view says."""
    with database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT id_commande, sku, ligne, réf_lot FROM allocations_view")
        return {(row.id_commande, row.sku, row.ligne): row.réf_lot for row in rows}


def test_avec_assez_de_stock_toutes_les_lignes_saines_sont_allouées_et_une_fois_seulement(
    allocation: RunAllocation,
    database: Database,
    orders: Path,
    tmp_path: Path,
) -> None:
    lines = sound_lines(orders)
    receive(allocation, whole_stock(lines), tmp_path)

    first = imported(allocation, orders)
    rejected = (tmp_path / f"{orders.name}.rejected.csv").read_text(encoding="utf-8").splitlines()
    second = imported(allocation, orders)

    assert first == {
        "allocated": 9869,
        "repeated": 0,
        "out of stock": 0,
        "rejected": 130,
        "repeated by place": 0,
        "incomplete orders": incomplete(orders),
    }
    assert second == {**first, "allocated": 0, "repeated": 9869, "repeated by place": 9869}
    assert rejected[0].endswith("ligne,ligne_du_fichier,raison")
    assert len(rejected) == 131
    assert all("unités sont attendues" in line for line in rejected[1:])
    assert len(allocated(database)) == 9869
    assert allocation("verify").returncode == 0


def test_avec_80_pour_cent_du_stock_chacun_reçoit_ce_que_l_oracle_dit(
    allocation: RunAllocation,
    database: Database,
    orders: Path,
    tmp_path: Path,
) -> None:
    lines = sound_lines(orders)
    lots = lots_for(lines, percent=80)
    receive(allocation, lots, tmp_path)
    known = {lot.sku for lot in lots}

    counts = imported(allocation, orders)

    expected = oracle(lines, lots)
    assert allocated(database) == {line: réf for line, réf in expected.items() if réf is not None}
    never_stocked = sum(1 for _, sku, _ in lines if sku not in known)
    assert counts == {
        "allocated": sum(réf is not None for réf in expected.values()),
        "repeated": 0,
        "out of stock": sum(réf is None for réf in expected.values()) - never_stocked,
        "rejected": 130 + never_stocked,
        "repeated by place": 0,
        "incomplete orders": incomplete(orders, expected),
    }
    assert counts["out of stock"] > 0
    handed_back = (tmp_path / f"{orders.name}.out-of-stock.csv").read_text(encoding="utf-8").splitlines()
    assert len(handed_back) == counts["out of stock"] + 1
    assert allocation("verify").returncode == 0


def test_demandées_par_http_les_lignes_reçoivent_ce_que_l_oracle_dit(
    own_service: Service, orders: Path, tmp_path: Path
) -> None:
    """Sixteen clients share the SKUs, as the lines of one must come in order."""
    lines = sound_lines(orders)
    lots = lots_for(lines, percent=80)
    receive(own_service.run, lots, tmp_path)
    of_sku: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for line in lines:
        of_sku[line[1]].append(line)

    def ask(client: httpx.Client, line: tuple[str, str, str]) -> str | None:
        order, sku, ligne = line
        body = {"id_commande": order, "sku": sku, "ligne": ligne, "quantité": lines[line]}
        answer = client.post("/allocate", json=body)
        assert answer.status_code in {201, 400, 409}, answer.text
        réf: str | None = answer.json().get("réf_lot")
        return réf

    def ask_for_all(skus: Sequence[str]) -> dict[tuple[str, str, str], str | None]:
        with httpx.Client(base_url=own_service.url, timeout=60) as client:
            return {line: ask(client, line) for sku in skus for line in of_sku[sku]}

    shares = [list(of_sku)[n::16] for n in range(16)]
    with ThreadPoolExecutor(len(shares)) as executor:
        answers = dict(chain.from_iterable(each.items() for each in executor.map(ask_for_all, shares)))

    assert answers == oracle(lines, lots)
    own_service.wait_until_caught_up()
    rows = own_service.query("SELECT id_commande, sku, ligne, réf_lot FROM allocations_view")
    assert {(order, sku, ligne): réf for order, sku, ligne, réf in rows} == {
        line: réf for line, réf in answers.items() if réf is not None
    }
    assert own_service.run("verify").returncode == 0


def _without_rate(counts: dict[str, int]) -> dict[str, int]:
    assert counts["lines/s"] > 0
    return {outcome: count for outcome, count in counts.items() if outcome != "lines/s"}
