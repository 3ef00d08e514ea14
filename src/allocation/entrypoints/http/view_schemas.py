"""What the read models answer, as schemas of the OpenAPI document."""

from datetime import date

from pydantic import BaseModel, Field


class AllocationVue(BaseModel):
    """An allocated line of an order."""

    sku: str = Field(examples=["LAMPE-ROUGE"])
    réf_lot: str = Field(examples=["lot-001"])
    quantité: int = Field(examples=[10])
    ligne: str = Field(examples=["1"])


class LotVue(BaseModel):
    """A lot."""

    réf: str = Field(examples=["lot-001"])
    sku: str = Field(examples=["LAMPE-ROUGE"])
    quantité: int = Field(examples=[100])
    quantité_allouée: int = Field(examples=[10])
    eta: date | None = Field(examples=[None])
    eta_dépassée: bool = Field(description="whether that day (of UTC) is past", examples=[False])


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
