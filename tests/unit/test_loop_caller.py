"""Commands sent from an event loop: how they are answered, given up, and refused."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import pytest
from tests.loops import next_turn
from tests.transactions import Group, Observations, Transactions
from tests.waiting import PATIENCE_S, eventually

from allocation.entrypoints.event_loop.caller import LoopCaller
from allocation.service_layer.group_commit import GaveUp, GroupCommit, QueueFull

Shop: TypeAlias = Callable[..., "LoopShop"]


class CountingLoop(asyncio.SelectorEventLoop):
    """A loop that counts how often another thread wakes it."""

    def __init__(self) -> None:
        super().__init__()
        self.wakes = 0

    def call_soon_threadsafe(self, *arguments: Any, **options: Any) -> asyncio.Handle:  # type: ignore[override]
        self.wakes += 1
        return super().call_soon_threadsafe(*arguments, **options)


class LoopShop:
    """Sends commands to a group commit, from the loop that runs."""

    def __init__(self, commits: GroupCommit[str], executor: ThreadPoolExecutor) -> None:
        self._commits = commits
        self._caller = LoopCaller(asyncio.get_running_loop(), executor)

    async def send(self, *messages: str) -> list[asyncio.Task[str]]:
        """The answers to come; the commands are in the queue, or refused."""
        tasks = [asyncio.create_task(self._commits.answer(each, self._caller)) for each in messages]
        await next_turn()
        return tasks


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def shop(group: Group, executor: ThreadPoolExecutor) -> Shop:
    return lambda **limits: LoopShop(group(**limits), executor)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        runner.run(scenario)


async def held(shop: LoopShop, transactions: Transactions) -> asyncio.Task[str]:
    """The answer to a first command, whose transaction is under way until it is let go."""
    [first] = await shop.send("premier")
    assert transactions.begun.acquire(timeout=30)
    return first


def test_les_réponses_d_une_transaction_réveillent_la_boucle_une_seule_fois(
    shop: Shop, transactions: Transactions, observed: Observations
) -> None:
    names = [f"c-{number}" for number in range(100)]

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        # Nobody looks for an answer by himself, however late it is.
        sender = shop(waiting_s=10 * PATIENCE_S)
        await held(sender, transactions)
        tasks = await sender.send(*names)
        wakes = loop.wakes
        transactions.free.set()
        # The loop has no turn before all of the answers have been given.
        eventually(lambda: observed.sizes == [1, 100])

        assert await asyncio.gather(*tasks) == [name.upper() for name in names]
        assert loop.wakes - wakes == 1
        # And the next answers wake it again.
        [later] = await sender.send("d")
        async with asyncio.timeout(PATIENCE_S):
            assert await later == "D"

    run(scenario())


def test_ce_qui_est_donné_avant_qu_on_l_attende_n_est_pas_perdu(executor: ThreadPoolExecutor) -> None:
    async def scenario() -> None:
        caller = LoopCaller(asyncio.get_running_loop(), executor)
        promise = caller.promise()
        await asyncio.to_thread(promise.give, "FAIT")

        assert await caller.outcome(promise) == "FAIT"

    run(scenario())


def test_un_refus_est_levé_chez_celui_qu_il_concerne_et_chez_lui_seul(
    shop: Shop, transactions: Transactions
) -> None:
    transactions.poison = frozenset({"b"})

    async def scenario() -> None:
        sender = shop()
        first = await held(sender, transactions)
        a, b, c = await sender.send("a", "b", "c")
        transactions.free.set()

        with pytest.raises(ZeroDivisionError, match="poison"):
            await b
        assert [await each for each in (first, a, c)] == ["PREMIER", "A", "C"]

    run(scenario())


def test_ce_qui_est_commencé_est_attendu_et_ce_qui_ne_l_est_pas_n_est_jamais_exécuté(
    shop: Shop, transactions: Transactions
) -> None:
    async def scenario() -> None:
        sender = shop(waiting_s=0.05)
        first = await held(sender, transactions)
        [given_up] = await sender.send("trop-tard")
        with pytest.raises(GaveUp, match=r"0\.05 s"):
            await given_up
        await next_turn()
        assert not first.done()
        transactions.free.set()
        [next_one] = await sender.send("suivant")

        assert [await first, await next_one] == ["PREMIER", "SUIVANT"]
        assert transactions.batches == [["premier"], ["suivant"]]

    run(scenario())


def test_une_file_pleine_refuse_tout_de_suite_et_ne_perd_rien(shop: Shop, transactions: Transactions) -> None:
    async def scenario() -> None:
        sender = shop(waiting=2)
        await held(sender, transactions)
        *waiting, refused = await sender.send("a1", "a2", "a3")
        with pytest.raises(QueueFull):
            refused.result()
        transactions.free.set()

        assert [await each for each in waiting] == ["A1", "A2"]

    run(scenario())


def test_un_client_qui_part_n_arrête_ni_sa_commande_ni_les_autres(
    shop: Shop, transactions: Transactions
) -> None:
    async def scenario() -> None:
        sender = shop()
        await held(sender, transactions)
        gone, there = await sender.send("a1", "a2")
        gone.cancel()
        await next_turn()
        transactions.free.set()

        assert await there == "A2"
        assert gone.cancelled()
        assert transactions.batches == [["premier"], ["a1", "a2"]]

    run(scenario())


def test_une_boucle_terminée_n_empêche_pas_les_autres_d_être_servis(
    group: Group, transactions: Transactions, executor: ThreadPoolExecutor
) -> None:
    commits = group()
    first = commits.submit("premier")
    assert transactions.begun.acquire(timeout=30)

    async def ending() -> None:
        await LoopShop(commits, executor).send("a1", "a2")

    run(ending())
    other = commits.submit("b1")
    transactions.free.set()

    assert [first.result(30), other.result(30)] == ["PREMIER", "B1"]
    assert transactions.batches == [["premier"], ["a1", "b1", "a2"]]


def test_mille_commandes_d_un_article_n_en_font_pas_attendre_un_autre(
    shop: Shop, transactions: Transactions
) -> None:
    async def scenario() -> None:
        sender = shop(waiting=2000, batch=2)
        await held(sender, transactions)
        hot = await sender.send(*[f"chaud-{number}" for number in range(1000)])
        [cold] = await sender.send("froid")
        transactions.free.set()

        assert await cold == "FROID"
        assert "froid" in transactions.batches[1]
        assert await asyncio.gather(*hot) == [f"CHAUD-{number}" for number in range(1000)]

    run(scenario())
