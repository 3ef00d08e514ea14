"""The state of the journal's readers, and the rebuilding of read models."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from allocation.adapters.read_models.rebuilds import DÉBIT_MAX
from allocation.entrypoints.http.schemas.fields import (
    Demande,
    whole,
)


class AvancementVue(BaseModel):
    """How far a reader of the journal has come."""

    kind: str = Field(examples=["projection"])
    name: str = Field(examples=["allocations_view"])
    position: int = Field(examples=[42])
    behind: int = Field(examples=[0])
    lag_s: float = Field(examples=[0.0])
    rate: float = Field(description="events a second, lately", examples=[12.5])
    state: str = Field(description="following, failing, silent, rebuilding or paused", examples=["following"])
    parked: int = Field(description="SKUs of which events are parked", examples=[0])
    erreur: str | None = Field(examples=[None])


class DemandeReconstruction(Demande):
    """How to rebuild a read model."""

    source: Literal["model", "journal", "snapshot"] | None = Field(
        default=None,
        description="the write model, which is the fastest; the whole journal with its archive; or the "
        "newest snapshot of the archive and the events after it",
    )
    débit_max: Annotated[int, Field(ge=1, le=DÉBIT_MAX), BeforeValidator(whole)] | None = Field(
        default=None, description="rows or events a second at most"
    )


class ReconstructionVue(BaseModel):
    """How far a rebuild has come: `fait` of about `total` rows or events."""

    name: str = Field(examples=["allocations_view"])
    version: int = Field(examples=[1])
    source: str = Field(examples=["model"])
    phase: str = Field(
        description="filling, indexing, catching up, comparing, taking over, done or failed",
        examples=["filling"],
    )
    position: int = Field(examples=[42])
    fait: int = Field(examples=[20000])
    total: int = Field(examples=[1000000])
    débit_max: int | None = Field(examples=[None])
    demandé_le: datetime = Field(examples=["2027-01-31T10:00:00Z"])
    mis_à_jour_le: datetime = Field(examples=["2027-01-31T10:00:05Z"])
    erreur: str | None = Field(examples=[None])


class Vivant(BaseModel):
    """The process answers."""

    status: str = Field(examples=["ok"])


class EtatDuService(BaseModel):
    """Whether requests can be served and, if not, why."""

    status: str = Field(examples=["ok"])
    database: str = Field(examples=["ok"])
    migrations: str = Field(examples=["ok"])
    readers: list[AvancementVue]
