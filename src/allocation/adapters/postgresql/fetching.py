"""How a SELECT is asked, as far as those who ask must know, and the rows that come back."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

Row: TypeAlias = dict[str, Any]
RawRow: TypeAlias = list[bytes | None]

# A SELECT with named parameters, and all of its rows;
Fetch: TypeAlias = Callable[[str, Mapping[str, object]], list[Row]]
# a SELECT over keys, and the row for one of them, as raw text.
LookUp: TypeAlias = Callable[[str, Mapping[str, object]], Awaitable[RawRow]]
