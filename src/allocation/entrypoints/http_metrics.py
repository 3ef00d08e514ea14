"""What Prometheus scrapes: requests, counted in every worker, and how far the journal's readers are."""

import os
import time
from collections.abc import Iterator

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from allocation.adapters.database import StorageUnavailable
from allocation.views.progress import progress
from allocation.views.views import ReadSource

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class HttpMetrics:
    """The metrics of one app. Under `allocation serve`, the counts of all worker processes are added up."""

    def __init__(self, source: ReadSource) -> None:
        self._registry = CollectorRegistry()
        counted_in: CollectorRegistry | None = self._registry
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
            counted_in = None
        labels = ("method", "route", "status")
        self._requests = Counter(
            "allocation_http_requests", "Requests answered.", labels, registry=counted_in
        )
        self._durations = Histogram(
            "allocation_http_request_duration_seconds",
            "Time from reading a request to its answer.",
            ("method", "route"),
            registry=counted_in,
        )
        self.group_commit = GroupCommitMetrics(counted_in)
        self.reads = ReadMetrics(counted_in)
        self._registry.register(_JournalReaders(source))

    def observe(self, app: Flask) -> None:
        """Count and time every request of the app."""
        app.before_request(self._begin)
        app.after_request(self._end)

    def exposition(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)

    def _begin(self) -> None:
        g.began = time.perf_counter()

    def _end(self, response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "-"
        self._requests.labels(request.method, route, response.status_code).inc()
        self._durations.labels(request.method, route).observe(time.perf_counter() - g.began)
        return response


class GroupCommitMetrics:
    """How commands share transactions; the observer of a bus."""

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
        """Count the batch."""
        self._sizes.observe(size)
        self._waits.observe(waited_s)
        self._transactions.observe(transaction_s)

    def transaction_retried(self) -> None:
        """Count the repetition."""
        self._retries.inc()

    def batch_split(self) -> None:
        """Count the split."""
        self._splits.inc()


class ReadMetrics:
    """How often the replica could not answer; the observer of a database's reads."""

    def __init__(self, registry: CollectorRegistry | None) -> None:
        self._fall_backs = Counter(
            "allocation_read_fall_backs",
            "Reads that went to the primary, as the replica was away, late or paused.",
            ("reason",),
            registry=registry,
        )

    def fell_back(self, reason: str) -> None:
        """Count the read."""
        self._fall_backs.labels(reason).inc()


class _JournalReaders(Collector):
    """How far projections and subscriptions are, as the database says at the moment of the scrape."""

    def __init__(self, source: ReadSource) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        try:
            readers = progress(self._source)
        except StorageUnavailable:
            yield _gauge("allocation_database_up", "Whether the database answers.", 0)
            return
        yield _gauge("allocation_database_up", "Whether the database answers.", 1)
        labels = ("kind", "name")
        position = GaugeMetricFamily("allocation_reader_position", "Last event applied.", labels=labels)
        behind = GaugeMetricFamily("allocation_reader_behind", "Positions still to go.", labels=labels)
        lag = GaugeMetricFamily("allocation_reader_lag_seconds", "Age of the next event.", labels=labels)
        for reader in readers:
            of_reader = (reader.kind, reader.name)
            position.add_metric(of_reader, reader.position)
            behind.add_metric(of_reader, reader.behind)
            lag.add_metric(of_reader, reader.lag_s)
        yield from (position, behind, lag)


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, documentation, value=value)
