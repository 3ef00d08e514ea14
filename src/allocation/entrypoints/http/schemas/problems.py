"""Refusals."""

from pydantic import BaseModel, ConfigDict, Field


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
