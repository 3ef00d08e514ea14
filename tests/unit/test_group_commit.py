"""The queue before the write model: what is together, what is apart, and what happens in trouble."""

import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.transactions import Group, Observations, Transactions
from tests.waiting import eventually

from allocation.adapters.coroutines import at_once
from allocation.adapters.postgresql.database import (
    Locked,
    OutcomeUnknown,
    StorageUnavailable,
    VersionConflict,
)
from allocation.adapters.write_model.repository import Waiting
from allocation.service_layer import attempts, group_commit
from allocation.service_layer.callers import BlockingCaller, BlockingPromise
from allocation.service_layer.commit_queue import FairQueue, Pending
from allocation.service_layer.group_commit import GaveUp, GroupCommit, QueueFull


def answer(commits: GroupCommit[str], message: str) -> str:
    return str(at_once(commits.answer(message, BlockingCaller())))


def held(commits: GroupCommit[str], transactions: Transactions) -> BlockingPromise:
    """The answer to a first command, whose transaction is under way until it is let go."""
    first = commits.submit("premier")
    assert transactions.begun.acquire(timeout=30)
    return first


def test_ce_qui_arrive_pendant_une_transaction_partage_la_suivante(
    group: Group, transactions: Transactions, observed: Observations
) -> None:
    commits = group()
    first = held(commits, transactions)

    others = [commits.submit(name) for name in ("a1", "a2", "b1")]
    transactions.free.set()

    assert first.result(30) == "PREMIER"
    assert [other.result(30) for other in others] == ["A1", "A2", "B1"]
    assert [sorted(batch) for batch in transactions.batches] == [["premier"], ["a1", "a2", "b1"]]
    eventually(lambda: observed.sizes == [1, 3])


def test_après_une_foule_la_suivante_est_attendue_tant_qu_elle_grossit(
    group: Group, transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = group()
    still_to_come, answers = ["e", "f"], []

    def arrive(_step_s: float) -> None:
        steps.append(len(still_to_come))
        if still_to_come:
            answers.append(commits.submit(still_to_come.pop(0)))

    steps: list[int] = []
    monkeypatch.setattr("allocation.service_layer.writer.time.sleep", arrive)
    alone = held(commits, transactions)
    crowd = [commits.submit("b"), commits.submit("c")]
    transactions.free.set()
    assert [answer.result(30) for answer in (alone, *crowd)] == ["PREMIER", "B", "C"]
    assert steps == []

    answers.append(commits.submit("d"))

    assert answers[0].result(30) == "D"
    assert sorted(answer.result(30) for answer in answers) == ["D", "E", "F"]
    assert transactions.batches == [["premier"], ["b", "c"], ["d", "e", "f"]]
    assert steps == [2, 1, 0]


def test_une_transaction_pleine_n_attend_plus_personne(
    group: Group, transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("allocation.service_layer.writer.time.sleep", slept.append)
    commits = group(batch=2)
    alone = held(commits, transactions)
    crowd = [commits.submit(name) for name in ("a1", "a2", "a3", "a4")]
    transactions.free.set()

    assert [answer.result(30) for answer in (alone, *crowd)] == ["PREMIER", "A1", "A2", "A3", "A4"]
    assert transactions.batches == [["premier"], ["a1", "a2"], ["a3", "a4"]]
    assert slept == []


def test_une_file_pleine_refuse_tout_de_suite_et_ne_perd_rien(
    group: Group, transactions: Transactions
) -> None:
    commits = group(waiting=2)
    held(commits, transactions)
    waiting = [commits.submit(name) for name in ("a1", "a2")]

    with pytest.raises(QueueFull):
        commits.submit("a3")
    transactions.free.set()

    assert [each.result(30) for each in waiting] == ["A1", "A2"]
    assert answer(commits, "a4") == "A4"
    assert "a3" not in [message for batch in transactions.batches for message in batch]


def test_qui_renonce_n_est_pas_servi(group: Group, transactions: Transactions) -> None:
    commits = group(waiting_s=0.01)
    held(commits, transactions)

    with pytest.raises(GaveUp):
        answer(commits, "abandonné")
    transactions.free.set()

    assert commits.submit("suivant").result(30) == "SUIVANT"
    assert transactions.batches == [["premier"], ["suivant"]]


def test_une_commande_commencée_est_attendue_jusqu_au_bout(group: Group, transactions: Transactions) -> None:
    commits = group(waiting_s=0.01)
    answers: list[str] = []
    caller = threading.Thread(target=lambda: answers.append(answer(commits, "commencée")))
    caller.start()
    assert transactions.begun.acquire(timeout=30)
    caller.join(0.1)
    assert caller.is_alive()

    transactions.free.set()
    caller.join(30)

    assert answers == ["COMMENCÉE"]


def test_quand_on_attend_trop_qui_vient_est_refusé_et_accepté_de_nouveau_après(
    group: Group, transactions: Transactions
) -> None:
    commits = group(batch=1, crowded_s=0.0)
    first = held(commits, transactions)
    waiting = [commits.submit(name) for name in ("a1", "a2")]
    transactions.free.set()
    assert [each.result(30) for each in (first, *waiting)] == ["PREMIER", "A1", "A2"]
    assert all(transactions.begun.acquire(timeout=30) for _ in waiting)
    transactions.free.clear()

    under_way = held(commits, transactions)
    commits.check_room()
    queued = commits.submit("a3")
    with pytest.raises(QueueFull, match="one more would for about"):
        commits.check_room()
    with pytest.raises(QueueFull, match="one more would for about"):
        answer(commits, "a4")
    # What sends without waiting for the answer, such as an import, bounds itself.
    later = commits.submit("a5")
    transactions.free.set()

    assert [each.result(30) for each in (under_way, queued, later)] == ["PREMIER", "A3", "A5"]
    assert answer(commits, "a6") == "A6"
    assert ["a4"] not in transactions.batches


def test_un_gestionnaire_qui_veut_tout_arrêter_n_arrête_que_sa_commande(
    group: Group, transactions: Transactions
) -> None:
    transactions.free.set()
    transactions.troubles = [SystemExit(3)]
    commits = group()

    with pytest.raises(RuntimeError, match="SystemExit"):
        answer(commits, "a1")
    assert answer(commits, "b1") == "B1"


def test_une_commande_empoisonnée_échoue_seule(
    group: Group, transactions: Transactions, observed: Observations
) -> None:
    transactions.poison = frozenset({"a2"})
    commits = group()
    held(commits, transactions)
    before, poison, behind = (commits.submit(name) for name in ("a1", "a2", "a3"))
    transactions.free.set()

    assert before.result(30) == "A1"
    with pytest.raises(ZeroDivisionError):
        poison.result(30)
    assert behind.result(30) == "A3"
    assert transactions.batches[1:] == [["a1", "a2", "a3"], ["a1"], ["a2"], ["a3"]]
    assert observed.splits == 1


def test_une_panne_passagère_se_retente_ensemble(
    group: Group, transactions: Transactions, observed: Observations
) -> None:
    commits = group()
    held(commits, transactions)
    waiting = [commits.submit(name) for name in ("a1", "b1")]
    transactions.troubles = [StorageUnavailable("away")]
    transactions.free.set()

    assert [each.result(30) for each in waiting] == ["A1", "B1"]
    assert transactions.batches[1:] == [["a1", "b1"], ["a1", "b1"]]
    assert (observed.splits, observed.retries) == (0, 1)


def test_une_panne_qui_dure_est_dite_à_chacun(
    group: Group, transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "MAX_ATTEMPTS", 2)
    commits = group()
    held(commits, transactions)
    waiting = [commits.submit(name) for name in ("a1", "b1")]
    transactions.troubles = [StorageUnavailable("away"), StorageUnavailable("away")]
    transactions.free.set()

    errors = []
    for each in waiting:
        with pytest.raises(StorageUnavailable) as refused:
            each.result(30)
        errors.append(refused.value)

    assert errors[0] is not errors[1]
    assert answer(commits, "c1") == "C1"


def test_un_conflit_avec_d_autres_écrivains_sépare_puis_se_retente(
    group: Group, transactions: Transactions, observed: Observations
) -> None:
    commits = group()
    held(commits, transactions)
    waiting = [commits.submit(name) for name in ("a1", "b1")]
    transactions.troubles = [VersionConflict("together"), VersionConflict("alone")]
    transactions.free.set()

    assert [each.result(30) for each in waiting] == ["A1", "B1"]
    assert transactions.batches[1:] == [["a1", "b1"], ["a1"], ["a1"], ["b1"]]
    assert (observed.splits, observed.retries) == (1, 1)


@pytest.mark.parametrize(("last_took_s", "waiting"), [(0.001, Waiting.BRIEFLY), (0.2, Waiting.LONGER)])
def test_quand_les_transactions_sont_longues_les_verrous_des_autres_sont_attendus_plus_longtemps(
    group: Group, transactions: Transactions, last_took_s: float, waiting: Waiting
) -> None:
    commits = group()
    commits._together.took_s = last_took_s
    transactions.free.set()

    assert answer(commits, "a1") == "A1"

    assert transactions.waits == [waiting]


def test_ce_que_le_temps_n_a_pas_permis_passe_en_premier_ensuite(
    group: Group, transactions: Transactions
) -> None:
    transactions.at_most = 2
    commits = group()
    held(commits, transactions)
    waiting = [commits.submit(name) for name in ("a1", "a2", "a3", "b1", "a4")]
    transactions.free.set()

    assert [each.result(30) for each in waiting] == ["A1", "A2", "A3", "B1", "A4"]
    assert transactions.batches[1:] == [["a1", "b1", "a2", "a3", "a4"], ["a2", "a3", "a4"], ["a4"]]


def test_le_fil_qui_écrit_s_arrête_quand_il_n_a_rien_à_faire_et_renaît(
    group: Group, transactions: Transactions
) -> None:
    commits = group()
    transactions.free.set()
    assert answer(commits, "a1") == "A1"
    thread = commits._together._thread
    assert thread is not None
    thread.join(30)
    assert not thread.is_alive()

    assert answer(commits, "a2") == "A2"


def test_un_observateur_qui_échoue_n_arrête_pas_le_service(
    group: Group, transactions: Transactions, observed: Observations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observed, "batch_answered", lambda *_: 1 / 0)
    monkeypatch.setattr(observed, "batch_split", lambda *_: 1 / 0)
    monkeypatch.setattr(observed, "transaction_retried", lambda *_: 1 / 0)
    transactions.poison = frozenset({"a2"})
    commits = group()
    held(commits, transactions)
    waiting = [commits.submit(name) for name in ("a1", "a2", "a3")]
    transactions.troubles = [StorageUnavailable("away")]
    transactions.free.set()

    assert waiting[0].result(30) == "A1"
    with pytest.raises(ZeroDivisionError, match="poison"):
        waiting[1].result(30)
    assert waiting[2].result(30) == "A3"


def test_ce_dont_l_issue_est_inconnue_n_est_pas_refait(group: Group, transactions: Transactions) -> None:
    """Done again, it would tell what the second time has changed: nothing."""
    commits = group()
    held(commits, transactions)
    waiting = [commits.submit(name) for name in ("a1", "b1")]
    transactions.troubles = [OutcomeUnknown("no answer")]
    transactions.free.set()

    for each in waiting:
        with pytest.raises(OutcomeUnknown):
            each.result(30)
    assert transactions.batches[1:] == [["a1", "b1"]]


def test_ce_qui_est_verrouillé_ne_retient_que_sa_propre_clé(
    group: Group, transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions.locked = {"a1", "a2", "a3"}
    apart = threading.Event()
    patiently = GroupCommit._carry_out_apart

    def held_apart(self: GroupCommit[str], batch: Sequence[Pending[str]]) -> int:
        assert apart.wait(30)
        return patiently(self, batch)

    monkeypatch.setattr(GroupCommit, "_carry_out_apart", held_apart)
    commits = group(batch=2)
    held(commits, transactions)
    locked = [commits.submit(name) for name in ("a1", "a2")]
    others = [commits.submit(name) for name in ("b1", "c1")]
    transactions.free.set()

    assert [each.result(30) for each in others] == ["B1", "C1"]
    locked.append(commits.submit("a3"))
    assert answer(commits, "b2") == "B2"
    with pytest.raises(TimeoutError):
        locked[0].result(0)
    transactions.locked.clear()
    apart.set()

    assert [each.result(30) for each in locked] == ["A1", "A2", "A3"]
    order = [name for batch in transactions.batches for name in batch if name in ("a1", "a2", "a3")]
    assert order[-3:] == ["a1", "a2", "a3"]


def test_un_verrou_qui_ne_vient_pas_est_le_refus_de_qui_l_attend(
    group: Group, transactions: Transactions
) -> None:
    transactions.locked = {"a1"}
    transactions.free.set()
    commits = group()
    waiting = [commits.submit(name) for name in ("a1", "b1")]

    with pytest.raises(Locked):
        waiting[0].result(30)
    assert waiting[1].result(30) == "B1"


def test_sans_fil_à_part_une_commande_verrouillée_reprend_sa_place_parmi_les_autres(
    group: Group, transactions: Transactions
) -> None:
    transactions.locked = {"a1", "a2"}
    commits = group(apart=0)
    held(commits, transactions)
    waiting = [commits.submit(name) for name in ("a1", "b1", "a2")]
    transactions.free.set()

    assert waiting[1].result(30) == "B1"
    assert answer(commits, "c1") == "C1"
    with pytest.raises(TimeoutError):
        waiting[0].result(0)
    transactions.locked.clear()

    assert [each.result(30) for each in waiting] == ["A1", "B1", "A2"]
    order = [name for batch in transactions.batches for name in batch if name in ("a1", "a2")]
    assert order[-2:] == ["a1", "a2"]
    assert Waiting.BRIEFLY not in transactions.waits


def test_qui_attend_un_verrou_sans_fil_à_part_ne_fait_plus_attendre_les_autres(
    group: Group, transactions: Transactions
) -> None:
    transactions.locked = {"a1", "b1"}
    commits = group(apart=1)
    held(commits, transactions)
    waiting = [commits.submit(name) for name in ("a1", "b1")]
    transactions.free.set()
    with pytest.raises(Locked):
        waiting[0].result(30)

    transactions.free.clear()
    other = commits.submit("c1")
    transactions.free.set()

    assert other.result(30) == "C1"
    mixed = [w for batch, w in zip(transactions.batches, transactions.waits, strict=True) if len(batch) > 1]
    assert mixed[-1] is Waiting.NOT_AT_ALL
    transactions.locked.clear()
    assert waiting[1].result(30) == "B1"


def test_sans_fil_à_part_un_verrou_qui_ne_vient_pas_est_refusé_après_un_temps(
    group: Group, transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "LOCK_PATIENCE_S", 0.01)
    transactions.locked = {"a1", "b1"}
    commits = group(apart=1)
    held(commits, transactions)
    waiting = [commits.submit(name) for name in ("a1", "b1", "c1")]
    transactions.free.set()

    with pytest.raises(Locked, match=r"for 0\.01 s"):
        waiting[1].result(30)
    with pytest.raises(Locked, match="by somebody"):
        waiting[0].result(30)
    assert waiting[2].result(30) == "C1"


@given(st.lists(st.text("abc", min_size=1, max_size=3)), st.integers(1, 5))
def test_la_file_garde_l_ordre_de_chaque_clé_et_ne_perd_rien(messages: list[str], limit: int) -> None:
    queue: FairQueue[tuple[int, str]] = FairQueue()
    for number, message in enumerate(messages):
        queue.put(Pending(message[0], (number, message), BlockingPromise()))
    served: list[tuple[int, str]] = []
    while len(queue):
        taken = queue.take(limit)
        # The last one is put back each time, as one for which there was no time.
        if len(taken) > 1:
            queue.put_back(taken[-1:])
            taken = taken[:-1]
        served += [pending.message for pending in taken]

    assert sorted(served) == list(enumerate(messages))
    for key in "abc":
        of_key = [number for number, message in served if message[0] == key]
        assert of_key == sorted(of_key)


def test_mille_demandes_d_un_article_n_en_font_pas_attendre_un_autre() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.put(Pending("chaud", f"chaud-{number}", BlockingPromise()))
    queue.put(Pending("froid", "froid", BlockingPromise()))

    assert "froid" in [pending.message for pending in queue.take(2)]
