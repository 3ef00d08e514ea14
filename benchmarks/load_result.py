"""What came of a load."""

import math
from array import array
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass
class LoadResult:
    """What came of a load; `latencies_s` are in the order of the answers, `lost` got no whole answer.

    `success_latencies_s` are those of the answers with a status of success. `went_back` counts answers from
    an older position of the journal than one before on the same connection.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: "array[float]" = field(default_factory=lambda: array("d"))
    success_latencies_s: "array[float]" = field(default_factory=lambda: array("d"))
    lost: int = 0
    went_back: int = 0
    connected: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0

    def add(self, status: int, latency_s: float) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        self.latencies_s.append(latency_s)
        if _is_success(status):
            self.success_latencies_s.append(latency_s)

    @property
    def succeeded(self) -> int:
        """Answers with a status of success."""
        return sum(n for status, n in self.statuses.items() if _is_success(status))

    @property
    def failed(self) -> int:
        """Answers with any other status, and requests without an answer."""
        return self.statuses.total() - self.succeeded + self.lost

    @property
    def rate(self) -> float:
        """Successful answers a second, from the first request to the last answer."""
        return self.succeeded / self.seconds if self.seconds else 0.0

    @property
    def cpu_per_answer_s(self) -> float:
        """Processor seconds that the generator itself spent on one answer."""
        return self.cpu_s / max(self.statuses.total(), 1)

    def percentile_s(self, percent: float) -> float:
        """The latency that `percent` of the answers kept to; not a number without answers."""
        return _percentile(self.latencies_s, percent)

    def percentile_of_successes_s(self, percent: float) -> float:
        """The same for the answers with a status of success."""
        return _percentile(self.success_latencies_s, percent)


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _percentile(latencies_s: "array[float]", percent: float) -> float:
    ordered = sorted(latencies_s)
    return ordered[math.ceil(percent / 100 * len(ordered)) - 1] if ordered else math.nan
