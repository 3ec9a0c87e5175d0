"""What a recording adds to save(), and that it adds nothing to the save() of other models.

The figures are the client's time, of the same UPDATE of one row in every case: only the receivers
differ. SQLite is in memory, so that no disk is in the figures: where save() itself takes longer,
the ratios are smaller. The cases take turns in every round; a ratio is the median of those of the
rounds.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from time import perf_counter
from typing import Any

from django.db import connection, models, transaction
from django.db.models.signals import post_save, pre_save
from django.utils import timezone

from benchmarks.rounds import parsed_options, project, take_turns

SAVES_IN_A_TRANSACTION = 100


def main() -> None:
    options = parsed_options("record", __doc__, rounds=150, calls=100)
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    with project(DATABASES={"default": database}, USE_TZ=True):
        measure(rounds=options.rounds, calls=options.calls)


def measure(*, rounds: int, calls: int) -> None:
    from django_jsonbuffer import Bucket

    model, *others = ten_models()
    with recording("orders", model):
        heard = [*map(post_save.has_listeners, (model, *others))]
    print(f"One of ten models is recorded; post_save has listeners for {sum(heard)} of them")

    order = model.objects.create(
        number="2024-000317",
        email="customer@shop.example",
        status="paid",
        quantity=0,
        total="129.90",
        placed_at=timezone.now(),
    )

    def save() -> None:
        order.quantity += 1
        order.save()

    receivers: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "nothing is recorded": nullcontext,
        "another model is recorded": partial(recording, "orders", others[0]),
        "a receiver that does nothing": partial(idle_receiver, model),
        "recorded": partial(recording, "orders", model),
        "recorded, changes=True": partial(recording, "orders", model, changes=True),
    }

    def one_by_one() -> int:
        for _ in range(calls):
            save()
        return calls

    def in_transactions() -> int:
        transactions = max(calls // SAVES_IN_A_TRANSACTION, 1)
        for _ in range(transactions):
            with transaction.atomic():
                for _ in range(SAVES_IN_A_TRANSACTION):
                    save()
        return transactions * SAVES_IN_A_TRANSACTION

    def microseconds(case: str, saves: Callable[[], int]) -> float:
        with receivers[case]():
            save()  # the first finds out who the receivers are
            began = perf_counter()
            count = saves()
            return (perf_counter() - began) / count * 1e6

    for title, saves in (
        ("Time per save() in autocommit", one_by_one),
        (f"Time per save(), {SAVES_IN_A_TRANSACTION} in one transaction", in_transactions),
    ):
        take_turns(
            f"{title}, {rounds} rounds of {calls} calls",
            {case: partial(microseconds, case, saves) for case in receivers},
            rounds=rounds,
            clean_up=Bucket("orders").purge,
        )


def ten_models() -> list[type[Any]]:
    """Ten alike, each with its table. No model can be defined before Django is set up."""

    class Order(models.Model):
        number = models.CharField(max_length=20)
        email = models.EmailField()
        status = models.CharField(max_length=20)
        quantity = models.IntegerField()
        total = models.DecimalField(max_digits=10, decimal_places=2)
        placed_at = models.DateTimeField()

        class Meta:
            abstract = True
            app_label = "benchmarks"

    made = [type(f"Order{number}", (Order,), {"__module__": __name__}) for number in range(10)]
    with connection.schema_editor() as editor:
        for model in made:
            editor.create_model(model)
    return made


@contextmanager
def recording(bucket: str, model: type[models.Model], **options: Any) -> Iterator[None]:
    """Record the model within, and leave no receiver behind."""
    from django_jsonbuffer import Bucket, receivers

    Bucket(bucket).record(model, on=["created", "updated"], **options)
    begun = receivers.recordings.pop()
    yield
    for signal in (pre_save, post_save):
        signal.disconnect(sender=model, dispatch_uid=id(begun))


@contextmanager
def idle_receiver(model: type[models.Model]) -> Iterator[None]:
    def receive(**kwargs: Any) -> None:
        pass

    post_save.connect(receive, sender=model)
    yield
    post_save.disconnect(receive, sender=model)


if __name__ == "__main__":
    main()
