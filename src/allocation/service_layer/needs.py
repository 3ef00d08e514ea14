"""What each command will ask the repository for, so that a whole batch of them is loaded at once.

A command that needs more than is said here gets it all the same, by round trips of its own.
"""

from collections.abc import Callable, Mapping
from typing import Any

from allocation.adapters.write_model.repository import Needs
from allocation.domain.commands import Allouer, Command, CréerLot, ModifierQuantitéLot


def _of_receiving(command: CréerLot) -> Needs:
    return Needs(skus=(command.sku,), réfs_lots=(command.réf,))


def _of_allocating(command: Allouer) -> Needs:
    ligne = (command.sku, (command.id_commande, command.ligne))
    return Needs(skus=(command.sku,), lignes=(ligne,))


def _of_correcting(command: ModifierQuantitéLot) -> Needs:
    return Needs(réfs_lots=(command.réf,))


COMMAND_NEEDS: Mapping[type[Command], Callable[[Any], Needs]] = {
    CréerLot: _of_receiving,
    Allouer: _of_allocating,
    ModifierQuantitéLot: _of_correcting,
}
