"""Compare the cost that a recording adds to save() with the cost that django-auditlog adds.

Every case is the same UPDATE of one order of the example shop. Only the receivers differ. SQLite is
in memory, and PostgreSQL waits for its disk at each commit. The longer the save() itself takes, the
smaller is the share of the recording. A transaction has a hundred saves.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, Final

from auditlog.registry import auditlog
from django.core.management import call_command
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import post_save
from django.test import override_settings

from benchmarks.rounds import Comparison, Ratio, Scale, microseconds
from django_jsonbuffer import Bucket
from django_jsonbuffer.recording import registry, signals
from example_project.shop.models import Order, Product

SAVES: Final = 100
"""Saves of one turn, which is one transaction, or in autocommit."""

BARE: Final = "nothing is recorded"
AUDITLOG: Final = "django-auditlog"
FIELDS: Final = ("product", "quantity", "status", "total")

Receivers = Callable[[], AbstractContextManager[None]]
"""A context manager that connects receivers for its block."""


class OnPostgreSQL:
    """A router that sends all models to PostgreSQL: django-auditlog reads old values through it."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return "postgresql"

    db_for_write = db_for_read


def comparisons(scale: Scale) -> Iterator[Comparison]:
    with _recordings_of_the_shop_off():
        yield from _on("SQLite", alias="default", rounds=scale.rounds(40))
        with override_settings(DATABASE_ROUTERS=[OnPostgreSQL()]):
            yield from _on("PostgreSQL", alias="postgresql", rounds=scale.rounds(40))


def _on(database: str, *, alias: str, rounds: int) -> Iterator[Comparison]:
    call_command("migrate", database=alias, verbosity=0)
    product = Product.objects.create(name="Teapot", slug="benchmark", price="25.00")
    order = Order.objects.create(product=product, quantity=1, total="25.00")
    order.refresh_from_db()

    def save() -> None:
        order.quantity = 3 - order.quantity
        order.save()

    def one_by_one() -> float:
        return microseconds(save, calls=SAVES)

    def in_a_transaction() -> float:
        def save_all() -> None:
            with transaction.atomic(using=alias):
                for _ in range(SAVES):
                    save()

        return microseconds(save_all, calls=1, events_a_call=SAVES)

    def measured(connected: Receivers, saves: Callable[[], float]) -> float:
        with connected():
            save()  # the first save looks up the receivers
            return saves()

    for when, saves in (("autocommit", one_by_one), ("transaction", in_a_transaction)):
        where = f"{database}, {when}"
        yield Comparison(
            title=f"A save() on {where}",
            unit="µs",
            cases={case: partial(measured, each, saves) for case, each in _cases().items()},
            rounds=rounds,
            ratios=[*_ratios(where)],
            clean_up=Bucket("orders").purge,
        )


def _cases() -> Mapping[str, Receivers]:
    return {
        BARE: nullcontext,
        "another model is recorded": partial(_recorded, Product),
        "a receiver that does nothing": _idle_receiver,
        "recorded": partial(_recorded, Order, fields=FIELDS, actor=True),
        "recorded, changes=True": partial(
            _recorded, Order, fields=FIELDS, changes=True, actor=True
        ),
        "recorded, values read back": partial(
            _recorded, Order, fields=FIELDS, actor=True, read_back=True
        ),
        AUDITLOG: _audited,
    }


def _ratios(where: str) -> Iterator[Ratio]:
    for case in (
        "another model is recorded",
        "recorded",
        "recorded, changes=True",
        "recorded, values read back",
    ):
        yield Ratio(what=f"save(): {case} / a bare one, {where}", of=case, to=BARE)
    for case in ("recorded", "recorded, changes=True"):
        yield Ratio(
            what=f"added: {case} / {AUDITLOG}, {where}",
            of=case,
            to=AUDITLOG,
            beyond=BARE,
            at_most=1 / 3,
        )


@contextmanager
def _recordings_of_the_shop_off() -> Iterator[None]:
    """Disconnect the recordings of the shop, so that each case has only the receivers it names."""
    found = [*registry.recordings]
    registry.recordings.clear()
    for recording in found:
        signals.disconnect(recording)
    yield
    registry.recordings.extend(found)
    for recording in found:
        signals.connect(recording)


@contextmanager
def _recorded(model: type[Model], **options: Any) -> Iterator[None]:
    Bucket("orders").record(model, **options)
    yield
    Bucket("orders").unrecord(model)


@contextmanager
def _idle_receiver() -> Iterator[None]:
    def receive(**kwargs: Any) -> None:
        pass

    post_save.connect(receive, sender=Order)
    yield
    post_save.disconnect(receive, sender=Order)


@contextmanager
def _audited() -> Iterator[None]:
    auditlog.register(Order, include_fields=[*FIELDS])
    yield
    auditlog.unregister(Order)
