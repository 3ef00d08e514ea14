"""How fresh an answer must be."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from allocation.adapters.journal.tokens import ConsistencyToken


def _token(text: str) -> ConsistencyToken:
    try:
        return ConsistencyToken.parse(text)
    except ValueError as error:
        raise PydanticCustomError(
            "jeton", "un jeton qu'une écriture a donné est attendu, comme 42-0f3c9a1b"
        ) from error


TOKEN_SCHEMA = {"type": "string", "pattern": "^[0-9]{1,18}(-[0-9a-f]{8})?$"}


class DemandeDeLecture(BaseModel):
    """How fresh an answer must be, as the request's headers say it."""

    jeton: Annotated[ConsistencyToken, BeforeValidator(_token), WithJsonSchema(TOKEN_SCHEMA)] = Field(
        default_factory=lambda: ConsistencyToken(0),
        alias="Consistency-Token",
        description="what a write has answered: the answer reflects it, or is 503",
        examples=["0"],
    )
    préférences: str = Field(
        default="",
        alias="Prefer",
        description="`wait=<seconds>`: how long to wait for it, 2 by default and 30 at most; "
        "`handling=lenient`: a stale answer rather than none",
        examples=["wait=5", "wait=0, handling=lenient"],
    )
