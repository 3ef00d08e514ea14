"""What stands between the server and the app."""

from collections.abc import Iterator

from allocation.entrypoints.serving.processes import in_one_piece


class Pieces:
    """An answer of two pieces, as WSGI allows it."""

    def __init__(self) -> None:
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        assert not self.closed
        return iter([b"une ", b"commande"])

    def close(self) -> None:
        self.closed = True


def test_une_réponse_est_une_liste_et_ce_qui_la_portait_est_fermé() -> None:
    pieces = Pieces()

    answer = in_one_piece(lambda environ, start_response: pieces)({}, lambda status, headers: None)

    assert type(answer) is list
    assert answer == [b"une ", b"commande"]
    assert pieces.closed
