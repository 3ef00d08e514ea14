"""Metrics for Prometheus: requests, counted in every worker, and the progress of the journal's readers."""

import os
from collections.abc import Iterator
from functools import cache
from http import HTTPMethod

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from allocation.adapters.postgresql.database import StorageUnavailable
from allocation.views.progress import UNKNOWN_AMONG, progress, unknown_events
from allocation.views.views import ReadSource

# The methods of HTTP. A client may send any word, and every new label would add lines to the metrics for
# good.
_METHODS = frozenset(HTTPMethod)
_OTHER_METHOD = "other"

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class HttpMetrics:
    """The metrics of one app. Under `allocation serve`, they sum up all worker processes."""

    def __init__(self, source: ReadSource) -> None:
        self._registry = CollectorRegistry()
        counted_in: CollectorRegistry | None = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
            counted_in = None
        labels = ("method", "route", "status")
        requests = Counter("allocation_http_requests", "Requests answered.", labels, registry=counted_in)
        durations = Histogram(
            "allocation_http_request_duration_seconds",
            "Time from reading a request to its answer.",
            ("method", "route"),
            registry=counted_in,
        )
        # The library keeps the children as well, but takes longer to find them.
        self._requests, self._durations = cache(requests.labels), cache(durations.labels)
        self.group_commit = GroupCommitMetrics(counted_in)
        self.reads = ReadMetrics(counted_in)
        self._registry.register(_JournalReaders(source))

    def answered(self, method: str, rule: str | None, status: int, seconds: float) -> None:
        """Count an answer, and how long it took; the rule is that of its route, if it has one."""
        if method not in _METHODS:
            method = _OTHER_METHOD
        self._requests(method, rule or "-", status).inc()
        self._durations(method, rule or "-").observe(seconds)

    def exposition(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return generate_latest(self._registry)


class GroupCommitMetrics:
    """An observer of a bus that measures how commands share transactions."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._sizes = Histogram(
            "allocation_batch_commands",
            "Commands that shared a transaction.",
            registry=registry,
            buckets=[2**n for n in range(11)],
        )
        self._waits = Histogram(
            "allocation_batch_wait_seconds",
            "How long the first command of a transaction had waited for it.",
            registry=registry,
        )
        self._transactions = Histogram(
            "allocation_transaction_seconds",
            "From the beginning of a transaction to its commit, repetitions included.",
            registry=registry,
        )
        self._retries = Counter(
            "allocation_transaction_retries",
            "Transactions that failed and were tried again.",
            registry=registry,
        )
        self._splits = Counter(
            "allocation_batch_splits", "Batches whose commands were tried one by one.", registry=registry
        )

    def batch_answered(self, size: int, waited_s: float, transaction_s: float) -> None:
        """Record a batch, its wait and the duration of its transaction."""
        self._sizes.observe(size)
        self._waits.observe(waited_s)
        self._transactions.observe(transaction_s)

    def transaction_retried(self) -> None:
        """Count a retried transaction."""
        self._retries.inc()

    def batch_split(self) -> None:
        """Count a batch whose commands are tried one by one."""
        self._splits.inc()


class ReadMetrics:
    """An observer of a database's reads that counts how often the replica could not answer."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._fall_backs = Counter(
            "allocation_read_fall_backs",
            "Reads that went to the primary, as the replica was away, late or paused.",
            ("reason",),
            registry=registry,
        )

    def fell_back(self, reason: str) -> None:
        """Count a read that went to the primary."""
        self._fall_backs.labels(reason).inc()


_READER_GAUGES = {
    "position": ("position", "Last event applied."),
    "behind": ("behind", "Positions still to go."),
    "lag_s": ("lag_seconds", "Age of the next event."),
    "rate": ("rate", "Events a second, lately."),
    "parked": ("parked", "SKUs of which events are parked."),
}


class _JournalReaders(Collector):
    """The progress of projections and subscriptions, read from the database at each scrape."""

    def __init__(self, source: ReadSource) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        try:
            readers = progress(self._source)
            unknown = unknown_events(self._source)
        except StorageUnavailable:
            yield _gauge("allocation_database_up", "Whether the database answers.", 0)
            return
        yield _gauge("allocation_database_up", "Whether the database answers.", 1)
        labels = ("kind", "name")
        families = {
            field: GaugeMetricFamily(f"allocation_reader_{name}", documentation, labels=labels)
            for field, (name, documentation) in _READER_GAUGES.items()
        }
        paused = GaugeMetricFamily("allocation_reader_paused", "Whether it has paused.", labels=labels)
        failing = GaugeMetricFamily(
            "allocation_reader_failing",
            "Those that fail again and again, or that are missed.",
            labels=(*labels, "reason"),
        )
        for reader in readers:
            of_reader = (reader.kind, reader.name)
            if reader.trouble is not None:
                failing.add_metric((*of_reader, reader.trouble), 1)
            for field, family in families.items():
                family.add_metric(of_reader, getattr(reader, field))
            paused.add_metric(of_reader, reader.state == "paused")
        skipped = GaugeMetricFamily(
            "allocation_unknown_events",
            f"Of the newest {UNKNOWN_AMONG} events, those that only a newer program knows.",
            labels=("type", "version"),
        )
        for each in unknown:
            skipped.add_metric((each.type, str(each.version)), each.events)
        yield from (*families.values(), paused, failing, skipped)


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)
