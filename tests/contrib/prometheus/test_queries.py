import pytest

from tests.contrib.prometheus.exposed import Exposed, Sample
from tests.contrib.prometheus.queries import labels_of_result

EXPOSED = Exposed(
    [
        Sample("dead", {"bucket": "orders"}, 1),
        Sample("state", {"bucket": "orders", "state": "empty"}, 1),
        Sample("lost_total", {"bucket": "orders"}, 1),
        Sample("seconds_bucket", {"bucket": "orders", "le": "1"}, 1),
    ]
)


@pytest.mark.parametrize(
    ("query", "labels"),
    [
        ("dead > 0", {"bucket", "job", "instance"}),
        ('max by (bucket) (state{state="empty"}) == 1', {"bucket"}),
        ("max by (bucket) (increase(lost_total[5m])) > 0", {"bucket"}),
        ("histogram_quantile(0.9, sum by (bucket, le) (rate(seconds_bucket[5m])))", {"bucket"}),
        ("absent(state) unless on () dead == 0", set()),
    ],
)
def test_labels_of_result(query: str, labels: set[str]) -> None:
    assert labels_of_result(query, EXPOSED) == labels


@pytest.mark.parametrize(
    "query",
    [
        "alive",
        'dead{bucket="mails"}',
        'dead{shop="orders"}',
        'state{state=~"full|gone"}',
        'state{state=~"empty|gone"}',
        'state{state!="gone"}',
        "sum by (shop) (dead)",
        "rate(dead[5m])",
        "histogram_quantile(0.9, sum by (bucket) (rate(seconds_bucket[5m])))",
        "dead / state",
        "sum(dead)",
        "dead offset",
    ],
)
def test_query_that_does_not_fit_is_found(query: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        labels_of_result(query, EXPOSED)
