"""The only place for wiring: which handler gets which message, and with which dependencies."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import entry_points
from typing import Any, TypeVar

from allocation.adapters.configuration import Settings
from allocation.adapters.journal.original_positions import PostgreSQLOriginalPositions
from allocation.adapters.notifications import AbstractNotifications, LoggedNotifications, SmtpNotifications
from allocation.adapters.postgresql.database import Database
from allocation.adapters.write_model.postgresql_unit_of_work import PostgreSQLUnitOfWork
from allocation.domain import events
from allocation.projections import projector
from allocation.projections.delivery import EventHandler, Projection, Reaction, Subscription
from allocation.projections.follower import Follower, ProjectionFollower
from allocation.projections.lots_view import mettre_à_jour_lots_vue
from allocation.projections.outside import subscription_follower
from allocation.projections.stock_view import mettre_à_jour_stock_vue
from allocation.service_layer import handlers
from allocation.service_layer.limits import DEFAULT_LIMITS, Limits
from allocation.service_layer.messagebus import CommandHandlers, MessageBus, Reactions
from allocation.service_layer.observer import Observer

__all__ = ["EVENT_HANDLERS", "bootstrap"]

COMMAND_HANDLERS: CommandHandlers = {
    each.command: each for each in (handlers.ajouter_lot, handlers.allouer, handlers.modifier_quantité_lot)
}

EVENT_HANDLERS: dict[type[events.Event], list[EventHandler[..., Any]]] = {
    events.LotCréé: [mettre_à_jour_lots_vue, mettre_à_jour_stock_vue],
    events.QuantitéLotModifiée: [mettre_à_jour_lots_vue, mettre_à_jour_stock_vue],
    events.Alloué: [
        handlers.publier_événement_allocation,
        handlers.ajouter_allocation_vue,
        mettre_à_jour_lots_vue,
        mettre_à_jour_stock_vue,
    ],
    events.Désalloué: [
        handlers.réallouer,
        handlers.supprimer_allocation_vue,
        mettre_à_jour_lots_vue,
        mettre_à_jour_stock_vue,
    ],
    events.RuptureDeStock: [handlers.envoyer_notification_rupture_stock],
}

# Other packages add to the table by an entry point in this group that names a mapping like EVENT_HANDLERS.
ENTRY_POINTS = "allocation.event_handlers"

D = TypeVar("D", Projection, Subscription)


def event_handlers() -> dict[type[events.Event], list[EventHandler[..., Any]]]:
    """EVENT_HANDLERS, with the additions of other installed packages."""
    handlers = {event_type: list(of_type) for event_type, of_type in EVENT_HANDLERS.items()}
    for entry_point in entry_points(group=ENTRY_POINTS):
        for event_type, added in entry_point.load().items():
            handlers.setdefault(event_type, []).extend(added)
    return handlers


def bootstrap(
    database: Database,
    *,
    settings: Settings | None = None,
    inline: bool = True,
    observer: Observer | None = None,
) -> MessageBus[PostgreSQLUnitOfWork]:
    """A bus on this database, whose schema must be up to date.

    With `inline`, `handle` brings the read models and subscriptions up to date before it returns; without
    `inline`, that is left to a worker. `observer` is told about transactions, for metrics.
    """
    settings = settings or Settings()
    followers = journal_followers(database, settings) if inline else ()
    projector.register(followers)
    return MessageBus(
        partial(PostgreSQLUnitOfWork, database),
        command_handlers=COMMAND_HANDLERS,
        reactions=reactions(),
        after_commit=partial(projector.catch_up, followers) if followers else None,
        original_positions=PostgreSQLOriginalPositions(database),
        limits=Limits(waiting=settings.queue_size, apart=min(DEFAULT_LIMITS.apart, settings.pool_size - 1)),
        observer=observer,
    )


def journal_followers(database: Database, settings: Settings) -> tuple[Follower, ...]:
    """The followers of all declared readers of the journal, projections first."""
    subscriptions = _routes(Subscription, {"notifications": _notifications(settings)})
    return (
        *projection_followers(database, settings),
        *(
            subscription_follower(each, routes, database, max_parked=settings.max_parked)
            for each, routes in subscriptions.items()
        ),
    )


def declared_projections() -> tuple[Projection, ...]:
    """The declared read models."""
    return tuple(_routes(Projection, {}))


def projection_followers(
    database: Database, settings: Settings | None = None
) -> tuple[ProjectionFollower, ...]:
    """The followers that keep the declared read models up to date."""
    max_parked = (settings or Settings()).max_parked
    return tuple(
        ProjectionFollower(each, routes, database, max_parked=max_parked)
        for each, routes in _routes(Projection, {}).items()
    )


def _routes(
    kind: type[D], dependencies: Mapping[str, object]
) -> dict[D, dict[type[events.Event], Callable[..., Any]]]:
    """For each delivery of this kind, the handler of each type of event."""
    routes: dict[D, dict[type[events.Event], Callable[..., Any]]] = {}
    for event_type, of_type in event_handlers().items():
        for handler in of_type:
            if isinstance(handler.delivery, kind):
                of_delivery = routes.setdefault(handler.delivery, {})
                of_delivery[event_type] = _with_dependencies(handler, dependencies)
    return routes


def reactions() -> Reactions:
    """The handlers that run in the transaction of each type of event."""
    return {
        event_type: [handler for handler in of_type if isinstance(handler.delivery, Reaction)]
        for event_type, of_type in event_handlers().items()
    }


def _with_dependencies(
    handler: EventHandler[..., Any], dependencies: Mapping[str, object]
) -> Callable[..., Any]:
    """The handler, with each parameter that is named like a dependency filled in."""
    wanted = dependencies.keys() & inspect.signature(handler.function).parameters.keys()
    return partial(handler, **{name: dependencies[name] for name in wanted}) if wanted else handler


def _notifications(settings: Settings) -> AbstractNotifications:
    if settings.smtp_url is None:
        return LoggedNotifications()
    return SmtpNotifications(settings.smtp_url, sender=settings.mail_from, recipient=settings.mail_to)
