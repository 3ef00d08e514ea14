"""The read path: functions that run one SELECT and return its result."""

from allocation.adapters.postgresql.read_servers import TooManyFallBacks, TooManyWaiting
from allocation.views.history import History, allocations_at, order_history, stock_at, stock_history
from allocation.views.instants import InstantFutur, JournalEnAvance
from allocation.views.past_view import HistoireArchivée
from allocation.views.staleness import JetonInconnu, NotFresh, ProjectionPaused, ViewLate
from allocation.views.views import ReadSource, allocations, disponibilités, lot, stock, stock_page

__all__ = [
    "HistoireArchivée",
    "History",
    "InstantFutur",
    "JetonInconnu",
    "JournalEnAvance",
    "NotFresh",
    "ProjectionPaused",
    "ReadSource",
    "TooManyFallBacks",
    "TooManyWaiting",
    "ViewLate",
    "allocations",
    "allocations_at",
    "disponibilités",
    "lot",
    "order_history",
    "stock",
    "stock_at",
    "stock_history",
    "stock_page",
]
