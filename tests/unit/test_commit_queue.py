"""The queue of commands, whose keys take turns."""

from hypothesis import given
from hypothesis import strategies as st

from allocation.service_layer.callers import BlockingPromise
from allocation.service_layer.commit_queue import FairQueue, Pending

KEYS = st.sampled_from("abcd")


def pending(key: str) -> Pending[str]:
    return Pending(key, key, BlockingPromise())


@given(waiting=st.lists(KEYS), key=KEYS)
def test_pas_plus_de_commandes_ne_passent_avant_une_nouvelle_que_la_file_ne_l_annonce(
    waiting: list[str], key: str
) -> None:
    queue: FairQueue[str] = FairQueue()
    for each in waiting:
        queue.put(pending(each))
    announced = queue.ahead_of(key)
    new = pending(key)
    queue.put(new)

    before = queue.take(len(queue)).index(new)

    assert before <= announced <= len(waiting)


def test_qui_vient_pour_un_article_très_demandé_attend_et_les_autres_n_ont_qu_un_tour_à_attendre() -> None:
    queue: FairQueue[str] = FairQueue()
    for key in "aaaaaaaabc":
        queue.put(pending(key))

    assert (queue.ahead_of("a"), queue.ahead_of("b"), queue.ahead_of("d")) == (10, 6, 3)
