"""Trying again after failures: soon, then less often, and without telling the same thing a thousand times."""

import logging

import pytest

from allocation.adapters.patience import MAX_BACKOFF_S, MAX_SILENCE_S, MIN_SILENCE_S, Patience

LOGGER = logging.getLogger("essai")


@pytest.fixture
def patience(caplog: pytest.LogCaptureFixture) -> Patience:
    caplog.set_level(logging.INFO)
    return Patience("le lecteur", LOGGER)


def test_les_pauses_doublent_et_restent_courtes(patience: Patience) -> None:
    pauses = [patience.pause_after(OSError(), expected=True) for _ in range(2000)]

    assert pauses[:5] == [0.1, 0.2, 0.4, 0.8, 1.6]
    assert set(pauses[5:]) == {MAX_BACKOFF_S}
    assert 0 < patience.remaining() <= MAX_BACKOFF_S


def test_mille_fois_la_même_raison_se_dit_une_fois(
    patience: Patience, caplog: pytest.LogCaptureFixture
) -> None:
    for port in range(1000):
        patience.pause_after(ConnectionRefusedError(f"port {port}: refusé"), expected=True)

    [record] = caplog.records
    assert record.getMessage() == "le lecteur failed, and is tried again: port 0: refusé"
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)


def test_une_autre_raison_se_dit_aussi_et_l_inattendu_avec_sa_trace(
    patience: Patience, caplog: pytest.LogCaptureFixture
) -> None:
    patience.pause_after(OSError("refusé"), expected=True)
    patience.pause_after(KeyError("inconnu"), expected=False)

    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
    assert caplog.records[-1].exc_info


def test_ce_qui_dure_se_redit_de_moins_en_moins_souvent(
    patience: Patience, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    for now in range(0, 24 * 3600, 10):  # noqa: B007 - it is the clock
        patience.pause_after(OSError("refusé"), expected=True)

    told = len(caplog.records)
    assert 24 * 3600 / MAX_SILENCE_S < told < 24 * 3600 / MIN_SILENCE_S / 10


def test_quand_tout_va_de_nouveau_bien_cela_se_dit_une_fois(
    patience: Patience, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        patience.pause_after(OSError("refusé"), expected=True)
    patience.all_is_well()
    patience.all_is_well()

    assert [record.getMessage() for record in caplog.records[1:]] == ["le lecteur goes on, after 3 failures"]
    assert patience.pause_after(OSError("refusé"), expected=True) == 0.1
    assert len(caplog.records) == 3
