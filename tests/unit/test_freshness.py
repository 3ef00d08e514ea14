"""Waiting for a view, and falling back from a replica, on servers that stand where the test puts them."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from tests.waiting import eventually

from allocation.adapters.coroutines import at_once
from allocation.adapters.journal.checkpoint_watch import CheckpointWatch
from allocation.adapters.postgresql import read_servers
from allocation.adapters.postgresql.database import StorageUnavailable
from allocation.adapters.postgresql.read_servers import (
    ReadServer,
    ReadServers,
    TooManyFallBacks,
    TooManyWaiting,
)
from allocation.views.freshness import ANY, Answer, Freshness, fresh
from allocation.views.staleness import JetonInconnu, ProjectionPaused, ViewLate

LONG = 30.0
AT_ONCE = 0.0


class FakeServer:
    """A server whose one projection is where the test puts it."""

    def __init__(self, position: int = 0) -> None:
        self.position = position
        self.reason: str | None = None
        self.away = False
        self.end = 100
        self.asked = 0
        self.looks = 0
        self.checkpoints = CheckpointWatch(self._look)

    def _look(self, query: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        self._answer_or_fail()
        self.looks += 1
        return [{"name": "vue", "position": self.position, "en_pause": self.reason is not None}]

    async def fetch(self, query: str, parameters: Mapping[str, object]) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def look_up(self, query: str, key: Mapping[str, object]) -> list[bytes | None]:
        """What the journal says of a token: its end, a mark, and up to where it is archived."""
        self._answer_or_fail()
        return [str(self.end).encode(), b"0f3c9a1b", b"3"]

    async def reached(self, projection: str, position: int, deadline: float) -> None:
        self.checkpoints.wait(projection, position, deadline)

    async def pause(self, seconds: float) -> None:
        threading.Event().wait(seconds)

    def ask(self) -> Answer[str]:
        self.asked += 1
        self._answer_or_fail()
        return Answer("contenu", self.position, self.reason)

    def _answer_or_fail(self) -> None:
        if self.away:
            raise StorageUnavailable("away")


async def ask(server: ReadServer) -> Answer[str]:
    assert isinstance(server, FakeServer)
    return server.ask()


def read(servers: ReadServers, wanted: Freshness) -> Answer[str]:
    return at_once(fresh(servers, "vue", ask, wanted))


@pytest.fixture
def primary() -> FakeServer:
    return FakeServer(position=7)


@pytest.fixture
def replica() -> FakeServer:
    return FakeServer(position=7)


@pytest.fixture
def alone(primary: FakeServer) -> ReadServers:
    return ReadServers(primary)


@pytest.fixture
def fall_backs() -> list[str]:
    return []


@pytest.fixture
def both(primary: FakeServer, replica: FakeServer, fall_backs: list[str]) -> ReadServers:
    class Noted:
        def fell_back(self, reason: str) -> None:
            fall_backs.append(reason)

    servers = ReadServers(primary, replica)
    servers.observe(Noted())
    return servers


def while_waiting(server: FakeServer, then: Callable[[], None]) -> threading.Thread:
    """Do something as soon as somebody waits at the server, in the thread that is returned."""

    def do() -> None:
        eventually(lambda: server.looks >= 2)
        then()

    thread = threading.Thread(target=do)
    thread.start()
    return thread


@contextmanager
def well_before_the_deadline() -> Iterator[None]:
    """What happens in this context must not take as long as the readers in it would wait."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < LONG / 2


class TestSeul:
    def test_sans_jeton_on_répond_de_ce_qui_est_là(self, alone: ReadServers, primary: FakeServer) -> None:
        answer = read(alone, ANY)

        assert (answer.value, answer.position, answer.stale, answer.served_by) == ("contenu", 7, False, None)
        assert (primary.asked, primary.looks) == (1, 0)

    def test_un_jeton_déjà_atteint_n_attend_rien(self, alone: ReadServers, primary: FakeServer) -> None:
        assert read(alone, Freshness(after=7, wait_s=LONG)).position == 7
        assert (primary.asked, primary.looks) == (1, 0)

    def test_un_jeton_s_attend_et_la_réponse_l_a_atteint(
        self, alone: ReadServers, primary: FakeServer
    ) -> None:
        mover = while_waiting(primary, lambda: setattr(primary, "position", 9))

        answer = read(alone, Freshness(after=9, wait_s=LONG))
        mover.join()

        assert (answer.position, answer.stale, primary.asked) == (9, False, 2)

    def test_trop_tard_l_erreur_dit_les_deux_positions(self, alone: ReadServers) -> None:
        with pytest.raises(ViewLate) as refus:
            read(alone, Freshness(after=9, wait_s=0.03))

        assert (refus.value.position, refus.value.position_attendue) == (7, 9)
        assert str(refus.value) == "Vue en retard : vue est à la position 7, 9 est attendue"

    def test_sans_attente_permise_on_ne_regarde_qu_une_fois(
        self, alone: ReadServers, primary: FakeServer
    ) -> None:
        with pytest.raises(ViewLate):
            read(alone, Freshness(after=9, wait_s=AT_ONCE))

        assert (primary.asked, primary.looks) == (1, 0)

    def test_l_indulgent_reçoit_ce_qui_est_là_et_le_sait(self, alone: ReadServers) -> None:
        answer = read(alone, Freshness(after=9, wait_s=AT_ONCE, lenient=True))

        assert (answer.value, answer.position, answer.stale) == ("contenu", 7, True)

    def test_une_projection_en_pause_ne_s_attend_pas(self, alone: ReadServers, primary: FakeServer) -> None:
        primary.reason = "KeyError: 'LAMPE'"

        with pytest.raises(ProjectionPaused) as refus:
            read(alone, Freshness(after=9, wait_s=LONG))

        assert (refus.value.position, refus.value.position_attendue) == (7, 9)
        assert refus.value.raison == "KeyError: 'LAMPE'"
        assert primary.looks == 0

    def test_une_pause_qui_survient_met_fin_à_l_attente(
        self, alone: ReadServers, primary: FakeServer
    ) -> None:
        pauser = while_waiting(primary, lambda: setattr(primary, "reason", ""))

        with (
            well_before_the_deadline(),
            pytest.raises(ProjectionPaused, match=r"^Projection en pause : vue"),
        ):
            read(alone, Freshness(after=9, wait_s=LONG))
        pauser.join()

    def test_une_panne_qui_survient_met_fin_à_l_attente(
        self, alone: ReadServers, primary: FakeServer
    ) -> None:
        breaker = while_waiting(primary, lambda: setattr(primary, "away", True))

        with well_before_the_deadline(), pytest.raises(StorageUnavailable):
            read(alone, Freshness(after=9, wait_s=LONG))
        breaker.join()

    def test_ce_qu_une_projection_en_pause_a_déjà_se_lit(
        self, alone: ReadServers, primary: FakeServer
    ) -> None:
        primary.reason = "panne"

        assert read(alone, Freshness(after=7)).position == 7

    def test_plus_de_lecteurs_qu_il_n_en_peut_attendre_sont_refusés_sur_le_champ(
        self, alone: ReadServers, primary: FakeServer
    ) -> None:
        wanted = Freshness(after=9, wait_s=LONG)
        with ThreadPoolExecutor(read_servers.MAX_WAITING) as clients:
            waiting = [clients.submit(read, alone, wanted) for _ in range(read_servers.MAX_WAITING)]
            eventually(lambda: primary.checkpoints._waiting == read_servers.MAX_WAITING)
            with well_before_the_deadline():
                with pytest.raises(TooManyWaiting):
                    read(alone, wanted)
                lenient = read(alone, Freshness(after=9, wait_s=LONG, lenient=True))
            primary.position = 9

            assert [each.result().position for each in waiting] == [9] * read_servers.MAX_WAITING
        assert lenient.stale
        assert read(alone, wanted).position == 9

    def test_tous_ceux_qui_attendent_partagent_un_regard_qui_cesse_avec_eux(
        self, alone: ReadServers, primary: FakeServer
    ) -> None:
        wanted = Freshness(after=9, wait_s=LONG)
        before = set(threading.enumerate())
        with ThreadPoolExecutor(8) as clients:
            waiting = [clients.submit(read, alone, wanted) for _ in range(8)]
            eventually(lambda: primary.checkpoints._waiting == 8)
            new = [thread.name for thread in set(threading.enumerate()) - before]
            primary.position = 9
            for each in waiting:
                each.result()

        assert new.count("checkpoint-watch") == 1
        assert primary.asked == 16
        eventually(lambda: primary.checkpoints._thread is None)
        primary.position = 10
        assert read(alone, Freshness(after=10)).position == 10

    def test_ce_qui_fut_vu_avant_une_interruption_ne_compte_plus(
        self, alone: ReadServers, primary: FakeServer
    ) -> None:
        """A pause that a watch saw long ago must not end the wait of who comes later."""
        pauser = while_waiting(primary, lambda: setattr(primary, "reason", "panne"))
        with pytest.raises(ProjectionPaused):
            read(alone, Freshness(after=9, wait_s=LONG))
        pauser.join()
        eventually(lambda: primary.checkpoints._thread is None)

        primary.reason, primary.asked = None, 0
        with pytest.raises(ViewLate):
            read(alone, Freshness(after=9, wait_s=0.5))

        assert primary.asked == 2

    @pytest.mark.parametrize("token", [(101, None), (9, "ffffffff"), (7, "ffffffff")])
    def test_un_jeton_inconnu_est_refusé_sans_attendre(
        self, alone: ReadServers, primary: FakeServer, token: tuple[int, str | None]
    ) -> None:
        after, mark = token
        with pytest.raises(JetonInconnu) as refus:
            read(alone, Freshness(after=after, mark=mark, wait_s=LONG))

        assert refus.value.jeton == (str(after) if mark is None else f"{after}-{mark}")
        assert primary.looks == 0
        lenient = read(alone, Freshness(after=after, mark=mark, wait_s=LONG, lenient=True))
        assert (lenient.position, lenient.stale, primary.looks) == (7, True, 0)

    def test_ce_qui_est_archivé_passe_pour_connu(self, alone: ReadServers) -> None:
        assert read(alone, Freshness(after=3, mark="ffffffff")).position == 7


class TestAvecRéplique:
    def test_la_base_juge_de_ce_que_la_réplique_n_a_pas_encore(
        self, both: ReadServers, primary: FakeServer, replica: FakeServer
    ) -> None:
        mover = while_waiting(replica, lambda: setattr(replica, "position", 9))
        assert read(both, Freshness(after=9, mark="0f3c9a1b", wait_s=LONG)).served_by == "replica"
        mover.join()

        primary.end, looks = 9, replica.looks
        with pytest.raises(JetonInconnu):
            read(both, Freshness(after=10, wait_s=LONG))
        assert (primary.looks, replica.looks) == (0, looks)

    def test_sans_base_qui_en_juge_la_réplique_s_attend(
        self, both: ReadServers, primary: FakeServer, replica: FakeServer
    ) -> None:
        primary.away = True
        mover = while_waiting(replica, lambda: setattr(replica, "position", 9))

        assert read(both, Freshness(after=9, mark="0f3c9a1b", wait_s=LONG)).served_by == "replica"
        mover.join()

    def test_la_réplique_répond_et_le_dit(self, both: ReadServers, primary: FakeServer) -> None:
        assert read(both, ANY).served_by == "replica"
        assert read(both, Freshness(after=7)).served_by == "replica"
        assert primary.asked == 0

    def test_une_réplique_en_retard_s_attend(
        self, both: ReadServers, replica: FakeServer, fall_backs: list[str]
    ) -> None:
        mover = while_waiting(replica, lambda: setattr(replica, "position", 9))

        answer = read(both, Freshness(after=9, wait_s=LONG))
        mover.join()

        assert (answer.position, answer.served_by, fall_backs) == (9, "replica", [])

    def test_trop_en_retard_elle_cède_la_place_à_la_base(
        self, both: ReadServers, primary: FakeServer, fall_backs: list[str]
    ) -> None:
        primary.position = 9

        answer = read(both, Freshness(after=9, wait_s=0.02))

        assert (answer.position, answer.served_by, fall_backs) == (9, "primary", ["late"])

    def test_si_la_base_aussi_est_en_retard_c_est_sa_position_qui_est_dite(
        self, both: ReadServers, primary: FakeServer
    ) -> None:
        primary.position = 8

        with pytest.raises(ViewLate) as refus:
            read(both, Freshness(after=9, wait_s=0.02))

        assert refus.value.position == 8

    def test_l_indulgent_reste_à_la_réplique(
        self, both: ReadServers, primary: FakeServer, fall_backs: list[str]
    ) -> None:
        primary.position = 9

        answer = read(both, Freshness(after=9, wait_s=AT_ONCE, lenient=True))

        assert (answer.position, answer.stale, answer.served_by, fall_backs) == (7, True, "replica", [])

    def test_une_pause_n_est_crue_que_de_la_base(
        self, both: ReadServers, primary: FakeServer, replica: FakeServer, fall_backs: list[str]
    ) -> None:
        replica.reason, primary.position = "ancienne", 9

        assert read(both, Freshness(after=9, wait_s=LONG)).served_by == "primary"
        assert fall_backs == ["paused"]

    def test_une_réplique_absente_est_laissée_en_paix_un_moment(
        self, both: ReadServers, replica: FakeServer, fall_backs: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replica.away = True

        answers = [read(both, ANY) for _ in range(5)]

        assert {answer.served_by for answer in answers} == {"primary"}
        assert fall_backs == ["away"] * 5
        assert replica.asked == 1

        replica.away = False
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + read_servers.REPLICA_PAUSE_S)
        assert [read(both, ANY).served_by for _ in range(2)] == ["replica", "replica"]

    def test_une_seule_lecture_à_la_fois_essaie_si_elle_est_revenue(
        self, both: ReadServers, replica: FakeServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        replica.away = True
        read(both, ANY)
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + read_servers.REPLICA_PAUSE_S)

        assert both.usable_replica() is replica
        assert both.usable_replica() is None

    def test_absente_elle_n_abrège_pas_l_attente_à_la_base(
        self, both: ReadServers, primary: FakeServer, replica: FakeServer
    ) -> None:
        replica.away = True
        mover = while_waiting(primary, lambda: setattr(primary, "position", 9))

        answer = read(both, Freshness(after=9, wait_s=LONG))
        mover.join()

        assert (answer.position, answer.served_by) == (9, "primary")

    def test_peu_de_lectures_à_la_fois_se_replient_sur_la_base(
        self, both: ReadServers, replica: FakeServer
    ) -> None:
        replica.away = True
        go_on = threading.Event()
        inside = threading.Semaphore(0)

        async def slow(server: ReadServer) -> Answer[str]:
            if server is both.primary:
                inside.release()
                assert go_on.wait(LONG)
            return await ask(server)

        with ThreadPoolExecutor(read_servers.MAX_FALL_BACKS) as clients:
            asked = [
                clients.submit(lambda: at_once(fresh(both, "vue", slow, ANY)))
                for _ in range(read_servers.MAX_FALL_BACKS)
            ]
            for _ in asked:
                assert inside.acquire(timeout=LONG)
            with pytest.raises(TooManyFallBacks):
                read(both, ANY)
            go_on.set()
            assert {each.result().served_by for each in asked} == {"primary"}
        assert read(both, ANY).served_by == "primary"
