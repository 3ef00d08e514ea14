"""Order lines to allocate, and the lots allocated to them."""

from pydantic import BaseModel, ConfigDict, Field

from allocation.domain.commands import Allouer
from allocation.entrypoints.http.identifiers import Identifiant
from allocation.entrypoints.http.schemas.fields import Demande, Quantité, accepted_as


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


class LotDeLaLigne(BaseModel):
    """The lot that serves the line."""

    réf_lot: str = Field(examples=["lot-001"])


class AllocationVue(BaseModel):
    """An allocated line of an order."""

    sku: str = Field(examples=["LAMPE-ROUGE"])
    réf_lot: str = Field(examples=["lot-001"])
    quantité: int = Field(examples=[10])
    ligne: str = Field(examples=["1"])
