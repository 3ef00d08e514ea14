"""The shapes of requests and answers, which are also the schemas of the OpenAPI document."""

import unicodedata
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from allocation.adapters.journal.tokens import ConsistencyToken
from allocation.adapters.read_models.rebuilds import DÉBIT_MAX
from allocation.domain.commands import Allouer, CréerLot, ModifierQuantitéLot
from allocation.domain.values import (
    CARACTÈRES_DE_CONTRÔLE,
    LONGUEUR_MAX,
    QUANTITÉ_LOT_MIN,
    QUANTITÉ_MAX,
    QUANTITÉ_MIN,
    Enregistré,
)
from allocation.entrypoints.http.identifiers import Identifiant

DEFAULT_PAGE = 100
MAX_PAGE = 1000


def _whole(value: Any) -> Any:
    """1.0 is a whole number, to JSON as to JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Quantité = Annotated[
    int, Field(ge=QUANTITÉ_MIN, le=QUANTITÉ_MAX, description="whole units"), BeforeValidator(_whole)
]

QuantitéDeLot = Annotated[
    int,
    Field(ge=QUANTITÉ_LOT_MIN, le=QUANTITÉ_MAX, description="whole units; 0: all are gone"),
    BeforeValidator(_whole),
]


def accepted_as(*names: str) -> AliasChoices:
    """The names under which a field is accepted, their accents composed or decomposed."""
    forms = [unicodedata.normalize(form, name) for name in names for form in ("NFC", "NFD")]
    return AliasChoices(*dict.fromkeys(forms))


class Demande(BaseModel):
    """A request body: nothing is converted, and a field that it does not know is refused."""

    model_config = ConfigDict(strict=True, extra="forbid")


class DemandeAllocation(Demande):
    """An order line to allocate."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id_commande": "commande-1", "sku": "LAMPE-ROUGE", "quantité": 10}]}
    )

    id_commande: Identifiant = Field(validation_alias=accepted_as("id_commande", "orderid"))
    sku: Identifiant
    quantité: Quantité = Field(validation_alias=accepted_as("quantité", "quantite", "qty"))
    ligne: Identifiant = Field(default="1", description="tells lines of one SKU in one order apart")

    def command(self) -> Allouer:
        """The command that is asked for."""
        return Allouer(self.id_commande, self.sku, self.quantité, self.ligne)


class DemandeLot(Demande):
    """A lot to receive."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"réf": "lot-001", "sku": "LAMPE-ROUGE", "quantité": 100}]}
    )

    réf: Identifiant = Field(validation_alias=accepted_as("réf", "ref"))
    sku: Identifiant
    quantité: Quantité = Field(validation_alias=accepted_as("quantité", "quantite", "qty"))
    eta: date | None = Field(default=None, description="day of arrival; none: in the warehouse")

    def command(self) -> CréerLot:
        """The command that is asked for."""
        return CréerLot(self.réf, self.sku, self.quantité, self.eta)


class DemandeCorrection(Demande):
    """What a lot really holds."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"quantité": 90}]})

    quantité: QuantitéDeLot = Field(validation_alias=accepted_as("quantité", "quantite", "qty"))

    def command(self, réf: str) -> ModifierQuantitéLot:
        """The command that is asked for, about the lot that is stored under this reference."""
        return ModifierQuantitéLot(Enregistré(réf), self.quantité)


def digits(value: Any) -> Any:
    """Numbers come as text in a query."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value


def _token(text: str) -> ConsistencyToken:
    try:
        return ConsistencyToken.parse(text)
    except ValueError as error:
        raise PydanticCustomError(
            "jeton", "un jeton qu'une écriture a donné est attendu, comme 42-0f3c9a1b"
        ) from error


TOKEN_SCHEMA = {"type": "string", "pattern": "^[0-9]{1,18}(-[0-9a-f]{8})?$"}


class DemandePage(BaseModel):
    """Which part of a list."""

    after: Annotated[str, Field(max_length=LONGUEUR_MAX, pattern=f"^[^{CARACTÈRES_DE_CONTRÔLE}]*$")] = Field(
        default="", description="the last SKU of the page before"
    )
    limit: Annotated[int, Field(strict=True, ge=1, le=MAX_PAGE), BeforeValidator(digits)] = Field(
        default=DEFAULT_PAGE, description="how many at most"
    )


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


class LotDeLaLigne(BaseModel):
    """The lot that serves the line."""

    réf_lot: str = Field(examples=["lot-001"])


class LotConnu(BaseModel):
    """The lot that is known now."""

    réf: str = Field(examples=["lot-001"])


class LigneSansLot(BaseModel):
    """A line that lost its lot, and that no other lot could take."""

    id_commande: str = Field(examples=["commande-1"])
    sku: str = Field(examples=["LAMPE-ROUGE"])
    quantité: int = Field(examples=[10])
    ligne: str = Field(examples=["1"])


class LigneAvecLot(LigneSansLot):
    """A line that lost its lot and has another."""

    réf_lot: str = Field(examples=["lot-002"])


class CorrectionDeLot(BaseModel):
    """What became of the lines that no longer fitted into the lot."""

    réf: str = Field(examples=["lot-001"])
    quantité: int = Field(examples=[90])
    réallouées: list[LigneAvecLot]
    sans_lot: list[LigneSansLot]


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
    """How a read model is to be built anew."""

    source: Literal["model", "journal", "snapshot"] | None = Field(
        default=None,
        description="the write model, which is the fastest; the whole journal with its archive; or the "
        "newest snapshot of the archive and what is behind it",
    )
    débit_max: Annotated[int, Field(ge=1, le=DÉBIT_MAX), BeforeValidator(_whole)] | None = Field(
        default=None, description="rows or events a second at most"
    )


class ReconstructionVue(BaseModel):
    """How far a rebuild is: `fait` of about `total` rows or events."""

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
    """Whether requests can be served, and what stands in the way."""

    status: str = Field(examples=["ok"])
    database: str = Field(examples=["ok"])
    migrations: str = Field(examples=["ok"])
    readers: list[AvancementVue]


class ChampFautif(BaseModel):
    """A field and why it is refused."""

    champ: str = Field(examples=["quantité"])
    raison: str = Field(examples=["le champ manque"])


class Refus(BaseModel):
    """A refusal (RFC 9457). Its facts stand beside these members, and differ by `type`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:allocation:sku-inconnu"])
    title: str = Field(examples=["SKU inconnu"])
    status: int = Field(examples=[400])
    detail: str = Field(examples=["SKU inconnu : LAMPE-ROUGE"])
    champs: list[ChampFautif] | None = None
