"""Events to JSON and back. The type's name and version are stored beside the fields.

Stored events are never changed. When the fields of an event change, the version of its class is raised, and
UPCASTS gets a function that makes the new fields from the old ones.
"""

import inspect
import json
from collections.abc import Callable
from typing import Any, TypeAlias

from pydantic import TypeAdapter
from pydantic_core import to_json

from allocation.domain import events
from allocation.domain.errors import AllocationError

EventFields: TypeAlias = dict[str, Any]

# By type and old version: a function from the fields of this version, as in JSON, to those of the next one.
UPCASTS: dict[tuple[str, int], Callable[[EventFields], EventFields]] = {}

_VALIDATORS = {
    (name, cls.version): TypeAdapter(cls).validator
    for name, cls in inspect.getmembers(events, inspect.isclass)
    if issubclass(cls, events.Event) and cls is not events.Event
}
# By name and version: pydantic's validator itself, as a replay calls it millions of times.
_READERS: dict[tuple[str, int], Callable[[str], events.Event]] = {
    key: validator.validate_json for key, validator in _VALIDATORS.items()
}


class UnknownEvent(AllocationError, LookupError):
    """The journal holds an event that this program has no class for: a newer one wrote it."""

    def __init__(self, type_name: str, version: int) -> None:
        super().__init__(f"unknown event: {type_name}, version {version}")
        self.type_name = type_name
        self.version = version


def as_json(value: object) -> str:
    """Objects, arrays and fields of events as JSON in UTF-8, dates in ISO 8601."""
    return to_json(value).decode()


def from_json(type_name: str, version: int, data: str) -> events.Event:
    """The stored event. Raises UnknownEvent."""
    read = _READERS.get((type_name, version))
    return from_fields(type_name, version, json.loads(data)) if read is None else read(data)


def from_fields(type_name: str, version: int, fields: EventFields) -> events.Event:
    """The event with these stored fields, as in JSON. Raises UnknownEvent."""
    newest, fields = upcast(type_name, version, fields)
    validator = _VALIDATORS.get((type_name, newest))
    if validator is None:
        raise UnknownEvent(type_name, version)
    event: events.Event = validator.validate_python(fields)
    return event


def upcast(type_name: str, version: int, fields: EventFields) -> tuple[int, EventFields]:
    """The fields brought to the newest version possible; those of an unknown type unchanged."""
    while next_fields := UPCASTS.get((type_name, version)):
        version, fields = version + 1, next_fields(fields)
    return version, fields


def readable_versions() -> list[tuple[str, int]]:
    """Every type and version that can be read."""
    return sorted(_VALIDATORS.keys() | UPCASTS.keys())
