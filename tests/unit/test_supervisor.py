"""The supervisor's children: started again, also where there is no room for one for a while."""

import multiprocessing
import time
from collections.abc import Iterator

import pytest

from allocation.entrypoints.serving.supervisor import Child


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    """A child that ends at once, whose pauses are over at once."""
    child = Child("sleeper", time.sleep, 0)
    monkeypatch.setattr("allocation.entrypoints.serving.supervisor.MIN_BACKOFF_S", 0.0)
    child._backoff = 0.0
    child.start()
    yield child
    child.join(30)


def test_un_enfant_qui_ne_peut_être_lancé_faute_de_place_l_est_plus_tard(
    child: Child, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    child.join(30)

    def no_room(process: multiprocessing.Process) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as full:
        full.setattr(multiprocessing.Process, "start", no_room)
        child.look_after()
        assert "could not be started: " in caplog.text
        assert child.sentinel is None
        child.terminate()

    child.look_after()
    assert child.sentinel is not None
