"""Stopping a command cleanly: the first Ctrl-C or SIGTERM asks it to end, a second one ends it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether the command has been asked to end, and by which signal."""

    def __init__(self) -> None:
        self._signal: int | None = None

    @contextmanager
    def awaited(self) -> Iterator[None]:
        """Within the context, the first signal is only noted as a request; it ends nothing by itself."""
        former = {each: signal.signal(each, self._made) for each in _STOP_SIGNALS}
        try:
            yield
        finally:
            for each, handler in former.items():
                signal.signal(each, handler)

    def is_made(self) -> bool:
        """Whether the command should end."""
        return self._signal is not None

    @property
    def exit_status(self) -> int:
        """The exit status that a shell expects of a command ended by this signal."""
        return 128 + (self._signal or 0)

    def _made(self, number: int, _: FrameType | None) -> None:
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = number
