"""Lines without a number get the one of their place, and never one that another line bears."""

from contextlib import closing

from allocation.entrypoints.csv_files.numbering import LineNumbers, Orders


def test_chaque_article_d_une_commande_compte_pour_lui() -> None:
    with closing(LineNumbers()) as numbers:
        given = [numbers.next(*line) for line in ("AX", "AX", "AY", "BX", "AX")]

    assert given == ["1", "2", "1", "1", "3"]


def test_les_numéros_que_le_fichier_donne_sont_évités_où_qu_ils_soient() -> None:
    with closing(LineNumbers()) as numbers:
        numbers.bear("A", "X", "1")
        numbers.bear("A", "X", "3")
        numbers.bear("A", "X", "3")
        numbers.bear("B", "X", "2")

        assert [numbers.next("A", "X") for _ in range(3)] == ["2", "4", "5"]


def test_les_numéros_vont_après_ceux_que_la_commande_a_déjà() -> None:
    asked = []

    def last_number(id_commande: str, sku: str) -> int:
        asked.append((id_commande, sku))
        return 7

    with closing(LineNumbers(last_number)) as numbers:
        numbers.bear("A", "X", "8")

        assert [numbers.next("A", "X") for _ in range(2)] == ["9", "10"]
    assert asked == [("A", "X")]


def test_un_texte_illisible_a_aussi_un_numéro() -> None:
    with closing(LineNumbers()) as numbers:
        assert numbers.next("caf\udce9", "\ud800") == "1"


def test_une_commande_ne_compte_qu_une_fois() -> None:
    with closing(Orders()) as orders:
        for order in ["A", "B", "A", "caf\udce9"]:
            orders.add(order)

        assert len(orders) == 3
