"""A wire between the program and PostgreSQL that is cut, or goes silent, when a test says so."""

import socket
import threading
from contextlib import suppress
from pathlib import Path

from sqlalchemy import make_url

COMMIT_DONE = b"COMMIT\x00"


class Wire:
    """A socket in a directory of its own: passes everything on, until it is told otherwise."""

    def __init__(self, directory: Path, server: str) -> None:
        self.path = directory / ".s.PGSQL.5432"
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        self._cut = threading.Event()
        self._mute_from_commit = threading.Event()
        self._hold_commit = threading.Event()
        self._passing = threading.Event()
        self._passing.set()
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, database_url: str) -> str:
        """The URL of the database by this wire."""
        url = make_url(database_url).update_query_dict({"host": str(self.path.parent)})
        return url.render_as_string(hide_password=False)

    def cut_the_answer_to_the_next_commit(self) -> None:
        self._cut.set()

    def withhold_the_answer_to_the_next_commit(self) -> None:
        """Nothing comes any more of that connection from then on, and it is not closed."""
        self._mute_from_commit.set()

    def hold_back_the_end_of_the_next_commit(self) -> None:
        """Of what asks for it, all that comes before the word itself is passed on, and nothing more."""
        self._hold_commit.set()

    def go_silent(self) -> None:
        """Pass nothing on any more, close nothing, and accept what connects."""
        self._passing.clear()

    def pass_on_what_is_new(self) -> None:
        """Connections that are made from now on work again; the old ones stay silent."""
        self._passing = threading.Event()
        self._passing.set()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                passing = self._passing
                for source, target in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._pass_on, args=[source, target, source is server, passing], daemon=True
                    ).start()

    def _pass_on(
        self,
        source: socket.socket,
        target: socket.socket,
        from_server: bool,  # noqa: FBT001
        passing: threading.Event,
    ) -> None:
        with source, target, suppress(OSError):
            while data := source.recv(65536):
                if from_server and COMMIT_DONE in data:
                    if self._mute_from_commit.is_set():
                        self._mute_from_commit.clear()
                        self.cuts += 1
                        passing = threading.Event()
                    if self._cut.is_set():
                        self._cut.clear()
                        self.cuts += 1
                        target.shutdown(socket.SHUT_RDWR)
                        source.shutdown(socket.SHUT_RDWR)
                        return
                if not from_server and b"COMMIT" in data and self._hold_commit.is_set():
                    self._hold_commit.clear()
                    self.cuts += 1
                    target.sendall(data[: data.rindex(b"COMMIT")])
                    passing = threading.Event()
                passing.wait()
                target.sendall(data)
