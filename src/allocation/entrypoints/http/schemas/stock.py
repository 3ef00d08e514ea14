"""The stock of SKUs, page by page."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from allocation.domain.values import (
    CARACTÈRES_DE_CONTRÔLE,
    LONGUEUR_MAX,
)
from allocation.entrypoints.http.identifiers import Identifiant
from allocation.entrypoints.http.schemas.fields import Demande, digits

DEFAULT_PAGE = 100
MAX_PAGE = 1000
MAX_SKUS = 100


class DemandePage(BaseModel):
    """The part of a list that is asked for."""

    after: Annotated[str, Field(max_length=LONGUEUR_MAX, pattern=f"^[^{CARACTÈRES_DE_CONTRÔLE}]*$")] = Field(
        default="", description="the last SKU of the page before"
    )
    limit: Annotated[int, Field(strict=True, ge=1, le=MAX_PAGE), BeforeValidator(digits)] = Field(
        default=DEFAULT_PAGE, description="how many at most"
    )


class StockVue(BaseModel):
    """The stock of a SKU, in units."""

    sku: str = Field(examples=["LAMPE-ROUGE"])
    en_stock: int = Field(examples=[100])
    en_transit: int = Field(examples=[0])
    alloué: int = Field(examples=[10])
    disponible: int = Field(examples=[90])
    prochaine_eta: date | None = Field(
        description="the earliest arrival, from today (of UTC) on, that has free units", examples=[None]
    )
    eta_dépassée: date | None = Field(
        description="the oldest arrival that is late and has free units", examples=[None]
    )


class PageDeStock(BaseModel):
    """The stock of some SKUs, in the order of their code points."""

    stock: list[StockVue]
    suivant: str | None = Field(description="the path of the next page, if there is one", examples=[None])


class DemandeDisponibilites(Demande):
    """The SKUs that are asked about; one that is named twice is answered once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"skus": ["LAMPE-ROUGE", "CHAISE"]}]})

    skus: list[Identifiant] = Field(min_length=1, max_length=MAX_SKUS)


class Arrivee(BaseModel):
    """What of the arrivals of one day can be sold, in units."""

    eta: date = Field(examples=["2027-01-31"])
    disponible: int = Field(examples=[40])


class Disponibilite(BaseModel):
    """What can be sold of a SKU, in units: in all, from stock, and by day of arrival."""

    sku: str = Field(examples=["LAMPE-ROUGE"])
    disponible: int = Field(examples=[90])
    disponible_en_stock: int = Field(examples=[50])
    arrivées: list[Arrivee]


class Disponibilites(BaseModel):
    """What can be sold of the SKUs that are known, and which are not, in the order of the request."""

    disponibilités: list[Disponibilite]
    inconnus: list[str] = Field(examples=[[]])
