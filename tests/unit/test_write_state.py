"""What the last write tells about the next one."""

import time
from contextlib import suppress

import pytest

from allocation.adapters.postgresql.database_errors import Locked, StorageUnavailable, VersionConflict
from allocation.adapters.postgresql.write_state import REMEMBERED_S, LastWrite


def write(last: LastWrite, error: Exception | None = None) -> None:
    with suppress(StorageUnavailable, VersionConflict), last.noted():
        if error is not None:
            raise error


@pytest.fixture
def last() -> LastWrite:
    return LastWrite()


def test_une_écriture_que_la_base_n_a_pas_prise_se_sait_jusqu_à_la_prochaine_qui_passe(
    last: LastWrite,
) -> None:
    assert not last.has_failed

    write(last, StorageUnavailable("disk full"))
    assert last.has_failed

    write(last)
    assert not last.has_failed


@pytest.mark.parametrize("error", [Locked("somebody has the row"), VersionConflict("another was first")])
def test_ce_qui_ne_tient_qu_à_une_commande_ne_dit_rien_de_la_base(last: LastWrite, error: Exception) -> None:
    write(last, error)

    assert not last.has_failed


def test_un_échec_ancien_ne_dit_plus_rien(last: LastWrite, monkeypatch: pytest.MonkeyPatch) -> None:
    write(last, StorageUnavailable("disk full"))
    later = time.monotonic() + REMEMBERED_S
    monkeypatch.setattr(time, "monotonic", lambda: later)

    assert not last.has_failed
