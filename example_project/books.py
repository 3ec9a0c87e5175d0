"""The books of the demo: what its visitors did, compared with what the drains made of it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from django.db.models import Sum

from example_project.traffic import Change, Traffic


@dataclass(frozen=True, kw_only=True)
class Totals:
    sent: int
    """Answered requests of the demo's visitors."""
    stored: int
    """Rows of these requests."""
    viewed: int
    """Product pages that all visitors got."""
    counted: int
    """Views by which the counters of the products have grown."""
    changes: int
    """Committed changes of orders."""
    audited: int
    delivered: int
    """Changes that the endpoint of the webhooks has received."""
    refused: int
    """Requests that the endpoint has refused."""
    rolled_back: int
    pending: int
    in_flight: int
    dead: int

    def __str__(self) -> str:
        # Fits into 80 columns. A longer line would wrap, and could not be written over.
        return (
            f"{self.sent} requests, {self.stored} rows; {self.changes} changes, "
            f"{self.audited} audited, {self.delivered} delivered; {self.pending} pending"
        )

    def details(self) -> str:
        """The figures that the line of the totals has no room for."""
        return (
            f"{self.viewed} product pages, {self.counted} counted; {self.rolled_back} payments "
            f"rolled back; {self.refused} webhooks refused"
        )

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with these totals, if everything should have been drained."""
        if self.stored != self.sent:
            yield f"{self.stored} rows stored of {self.sent} requests sent"
        if self.counted != self.viewed:
            yield f"{self.counted} views counted of {self.viewed} product pages"
        if self.pending:
            yield f"{self.pending} pending"
        if self.in_flight:
            yield f"{self.in_flight} in flight"
        if self.dead:
            yield f"{self.dead} among the dead letters"


class Books:
    """Compares what the demo's visitors did with the rows. Other visitors may use the shop too."""

    def __init__(self, traffic: Traffic, *, products: Sequence[str]) -> None:
        """`products` are the paths of the product pages. Open the books before the site."""
        from example_project.shop.buckets import orders, page_views, product_views, webhooks
        from example_project.shop.models import (
            AuditEntry,
            PageView,
            ProductViews,
            ReceivedChange,
            WebhookRequest,
        )

        opened = datetime.now(UTC)
        self._traffic = traffic
        self._buckets = [page_views, product_views, orders, webhooks]
        self._webhooks = webhooks
        self._rows = PageView.objects.filter(user_agent__startswith=traffic.user_agent)
        self._product_pages_of_others = PageView.objects.filter(
            at__gte=opened, path__in=products, status_code=200
        ).exclude(user_agent__startswith=traffic.user_agent)
        self._views = ProductViews.objects.all()
        # The demo's visitors are anonymous, unlike a user who changes an order in the admin.
        self._audit = AuditEntry.objects.filter(actor="", at__gte=opened).order_by("at")
        self._received = ReceivedChange.objects.filter(at__gte=opened).order_by("at")
        self._webhook_requests = WebhookRequest.objects.filter(at__gte=opened).order_by("pk")
        self._refusals = Refusals()
        self._last_webhook_request = 0
        statuses = [bucket.status() for bucket in self._buckets]
        self.waiting_before = sum(status.pending + status.in_flight for status in statuses)
        """Events that waited already. They are drained too, and are not of these visitors."""
        uncounted = product_views.status()
        self._views_before = self._sum_of_views() + uncounted.pending + uncounted.in_flight
        self._dead_before = sum(status.dead for status in statuses)

    def totals(self) -> Totals:
        statuses = [bucket.status() for bucket in self._buckets]
        return Totals(
            sent=len(self._traffic.answered),
            stored=self._rows.count(),
            viewed=self._traffic.product_pages + self._product_pages_of_others.count(),
            counted=self._sum_of_views() - self._views_before,
            changes=len(self._traffic.changes),
            audited=self._audit.count(),
            delivered=self._received.count(),
            refused=self._webhook_requests.filter(status_code__gte=400).count(),
            rolled_back=self._traffic.rolled_back,
            pending=sum(status.pending for status in statuses),
            in_flight=sum(status.in_flight for status in statuses),
            dead=sum(status.dead for status in statuses) - self._dead_before,
        )

    def webhooks_wait(self) -> bool:
        """Whether changes of orders wait for the endpoint of the webhooks."""
        status = self._webhooks.status()
        return bool(status.pending + status.in_flight)

    def news(self) -> Iterator[str]:
        """Yield what the endpoint has refused since the last call, and accepted after a refusal."""
        for request in self._webhook_requests.filter(pk__gt=self._last_webhook_request):
            self._last_webhook_request = request.pk
            yield from self._refusals.note(
                Delivery(request.webhook_id, request.at, request.status_code, request.changes)
            )

    def faults(self) -> Iterator[str]:
        """Yield each difference between what the visitors did and what is stored."""
        made = self._traffic.changes
        orders = {change.order for change in made}
        yield from self.totals().faults()
        yield from uneven_rows(
            self._traffic.answered, self._rows.values_list("user_agent", flat=True)
        )
        for word, rows in (("audited", self._audit), ("delivered", self._received)):
            changes = [Change(row.subject, row.type, row.data["status"]) for row in rows.all()]
            yield from differences(made, [c for c in changes if c.order in orders], word=word)
        if failed := self._traffic.failed:
            yield f"{failed} requests without their answer, or with an error"

    def _sum_of_views(self) -> int:
        return int(self._views.aggregate(total=Sum("views", default=0))["total"])


class Delivery(NamedTuple):
    """One request to the endpoint of the webhooks."""

    webhook_id: str
    at: datetime
    status: int
    """The status of the answer."""
    changes: int
    """Number of changes in the request."""


class Refusals:
    """The webhooks that the endpoint has refused, and not accepted since."""

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}
        """When each was refused first, by its id."""

    def note(self, delivery: Delivery) -> Iterator[str]:
        """Yield a line if the webhook is refused, or if it is accepted after a refusal."""
        size = f"{delivery.changes} change{'s' * (delivery.changes != 1)}"
        if delivery.status >= 400:
            self._since.setdefault(delivery.webhook_id, delivery.at)
            yield f"A webhook with {size} is refused ({delivery.status}), and will come again."
        elif since := self._since.pop(delivery.webhook_id, None):
            seconds = (delivery.at - since).total_seconds()
            yield f"The webhook with {size} has come again after {seconds:.1f} s, and is accepted."


def uneven_rows(sent: Iterable[str], stored: Iterable[str]) -> Iterator[str]:
    """Yield the requests that do not have exactly one row each."""
    should, does = Counter(sent), Counter(stored)
    for request in sorted({*should, *does}):
        if should[request] != does[request]:
            yield f"request {request} should have {should[request]} rows, and has {does[request]}"


def differences(made: Sequence[Change], found: Sequence[Change], *, word: str) -> Iterator[str]:
    """Yield the orders whose changes were not `word` ("audited") exactly as they were made."""
    should, does = _by_order(made), _by_order(found)
    for order in sorted({*should, *does}):
        if should[order] != does[order]:
            yield (
                f"order {order} should be {word} as {', '.join(should[order]) or 'nothing'}, "
                f"and is as {', '.join(does[order]) or 'nothing'}"
            )


def _by_order(changes: Sequence[Change]) -> dict[str, list[str]]:
    by_order: dict[str, list[str]] = defaultdict(list)
    for change in changes:
        by_order[change.order].append(f"{change.type} {change.status}")
    return by_order
