"""Connections shared out: as many as are wanted where there are enough, and always some for others."""

import pytest

from allocation.adapters.postgresql.connection_shares import ROOM, fitting, needed


@pytest.mark.parametrize(
    ("available", "workers", "size"),
    [(97, 2, 4), (97, 4, 4), (97, 8, 2), (97, 16, 1), (397, 16, 4), (20, 16, 1)],
)
def test_les_réserves_ont_la_taille_voulue_tant_que_le_serveur_y_suffit(
    available: int, workers: int, size: int
) -> None:
    assert fitting(available, workers, wanted=4) == size


@pytest.mark.parametrize("workers", range(1, 17))
def test_ce_qui_est_partagé_laisse_de_la_place_aux_autres(workers: int) -> None:
    assert needed(workers, fitting(97, workers, wanted=4)) <= 97
    assert ROOM >= 3
