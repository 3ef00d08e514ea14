"""Events to JSON and back. The type's name and version are stored beside the fields."""

import inspect
from collections.abc import Callable

from pydantic import TypeAdapter
from pydantic_core import to_json

from allocation.domain import events

# By name and version: straight to pydantic's validator, as a replay calls it millions of times.
_READERS: dict[tuple[str, int], Callable[[str], events.Event]] = {
    (name, cls.version): TypeAdapter(cls).validator.validate_json
    for name, cls in inspect.getmembers(events, inspect.isclass)
    if issubclass(cls, events.Event) and cls is not events.Event
}


class UnknownEvent(LookupError):
    """The journal holds an event that this program has no class for: a newer one wrote it."""

    def __init__(self, type_name: str, version: int) -> None:
        super().__init__(f"unknown event: {type_name}, version {version}")
        self.type_name = type_name
        self.version = version


def as_json(value: object) -> str:
    """Objects, arrays and fields of events as JSON in UTF-8, dates in ISO 8601."""
    return to_json(value).decode()


def from_json(type_name: str, version: int, data: str) -> events.Event:
    """The event that was stored. Raises UnknownEvent."""
    read = _READERS.get((type_name, version))
    if read is None:
        raise UnknownEvent(type_name, version)
    return read(data)
