"""Lots: received, corrected, shown."""

from datetime import date

from pydantic import BaseModel, ConfigDict, Field

from allocation.domain.commands import CréerLot, ModifierQuantitéLot
from allocation.domain.values import (
    Enregistré,
)
from allocation.entrypoints.http.identifiers import Identifiant, IdentifiantÉcrit
from allocation.entrypoints.http.schemas.fields import Demande, Quantité, QuantitéDeLot, accepted_as


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
    """The quantity that a lot really holds."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"quantité": 90}]})

    quantité: QuantitéDeLot = Field(validation_alias=accepted_as("quantité", "quantite", "qty"))

    def command(self, réf: str, sku: str | None) -> ModifierQuantitéLot:
        """The command that is asked for, about the lot that is stored under this reference and this SKU."""
        return ModifierQuantitéLot(Enregistré(réf), self.quantité, None if sku is None else Enregistré(sku))


class DemandeSku(BaseModel):
    """Whose lot is meant."""

    sku: IdentifiantÉcrit | None = Field(
        default=None,
        description="whose lot it is; it may be left out where no other SKU has such a lot",
    )


class LotConnu(BaseModel):
    """The lot that is known now."""

    réf: str = Field(examples=["lot-001"])


class LigneSansLot(BaseModel):
    """A line that lost its lot and found no other."""

    id_commande: str = Field(examples=["commande-1"])
    sku: str = Field(examples=["LAMPE-ROUGE"])
    quantité: int = Field(examples=[10])
    ligne: str = Field(examples=["1"])


class LigneAvecLot(LigneSansLot):
    """A line that lost its lot and has another."""

    réf_lot: str = Field(examples=["lot-002"])


class CorrectionDeLot(BaseModel):
    """What became of the lines that no longer fitted in the lot."""

    réf: str = Field(examples=["lot-001"])
    quantité: int = Field(examples=[90])
    réallouées: list[LigneAvecLot]
    sans_lot: list[LigneSansLot]


class LotVue(BaseModel):
    """A lot."""

    réf: str = Field(examples=["lot-001"])
    sku: str = Field(examples=["LAMPE-ROUGE"])
    quantité: int = Field(examples=[100])
    quantité_allouée: int = Field(examples=[10])
    eta: date | None = Field(examples=[None])
    eta_dépassée: bool = Field(description="whether that day (of UTC) is past", examples=[False])
