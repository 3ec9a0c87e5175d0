"""Whether a processor may get the same events twice."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from django.apps import apps
from django.core import mail
from django.db.models import Field, Model

from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.django_internals.sync_callers import in_sync_caller
from django_jsonbuffer.draining.batches import Batch
from django_jsonbuffer.draining.processor_transactions import run_processor
from django_jsonbuffer.encoding import is_single_event

from .commits import commit_appends
from .draining import drain_now
from .faults import late_acks
from .journal import journal, required_isolation

State = Mapping[str, Counter[str]]
"""For each thing that a processor may change, for example a table: its rows as texts."""

_MOST_SHOWN = 3


@in_sync_caller
def assert_idempotent(
    processor: Callable[[Batch], object] | Bucket,
    events: Iterable[Any],
    *,
    state: Callable[[], Any] | None = None,
    ignore: Collection[str] = (),
    using: Collection[str] = ("default",),
) -> None:
    """Fail if a second delivery of the same events changes what the first one has left.

    A function gets the events as one batch, then the same batch again, and then both halves as
    batches of their own, as after a crash. A :class:`~django_jsonbuffer.Bucket` is drained, and its
    acks come too late, so that each batch comes again: ``atomic=`` and receipts count.

    Compares all rows of the databases `using`, the mails that were sent, and the events that were
    appended. Automatic primary keys, fields with ``auto_now`` or ``auto_now_add``, and fields named
    in `ignore` do not matter. What else the processor changes, a function `state` returns: then
    only its result is compared.
    """
    required_isolation()
    if not callable(processor) and not isinstance(processor, Bucket):
        raise TypeError(f"{processor!r} is neither a processor nor a Bucket.")
    if is_single_event(events):
        raise TypeError(f"assert_idempotent() takes several events, such as [{events!r}].")
    look = state or (lambda: _rows(using, {*ignore}) | _mails() | _appended())
    if isinstance(processor, Bucket):
        _check_bucket(processor, events, look)
        return
    batch = Batch.of(events)
    half = len(batch) // 2
    again = Batch.of(batch, id=batch.id, attempt=2)
    _deliver(processor, batch)
    first = look()
    _deliver(processor, again)
    _compare(first, look(), "a second delivery of the batch")
    for part in (batch[:half], batch[half:]) if half else ():
        _deliver(processor, Batch.of(part))
    _compare(first, look(), "a delivery of its halves, which have another batch.id")


def _check_bucket(bucket: Bucket, events: Iterable[Any], look: Callable[[], Any]) -> None:
    bucket.extend(events, now=True)
    with late_acks() as deliver_again:
        drain_now(bucket)
    first = look()
    deliver_again(bucket)
    _compare(first, look(), "a second delivery of the batch")


def _deliver(processor: Callable[[Batch], object], batch: Batch) -> None:
    run_processor(processor, batch, atomic=None, confirm=bool, on_late_error=_raise)


def _raise(error: Exception) -> None:
    raise error


def _compare(first: Any, later: Any, event: str) -> None:
    if first == later:
        return
    lines = [f"The processor is not idempotent: {event} has changed what the first one had left."]
    if isinstance(first, dict) and isinstance(later, dict):
        for name in sorted({*first, *later}, key=str):
            lines += _difference(name, first.get(name), later.get(name))
    else:
        lines += [f"  before: {first!r}", f"  after:  {later!r}"]
    raise AssertionError("\n".join(lines))


def _difference(name: str, first: Any, later: Any) -> list[str]:
    if first == later:
        return []
    if not (isinstance(first, Counter) and isinstance(later, Counter)):
        return [f"  {name}: {first!r} before, {later!r} after"]
    changes = [("-", row) for row in (first - later).elements()]
    changes += [("+", row) for row in (later - first).elements()]
    shown = [f"    {sign} {row}" for sign, row in changes[:_MOST_SHOWN]]
    rest = [f"    … and {len(changes) - _MOST_SHOWN} more"] if changes[_MOST_SHOWN:] else []
    return [f"  {name}: {first.total()} before, {later.total()} after", *shown, *rest]


def _rows(using: Collection[str], ignore: set[str]) -> dict[str, Counter[str]]:
    """The rows of all models of the project, but for the receipts, which must be new."""
    found: dict[str, Counter[str]] = {}
    for model in apps.get_models(include_auto_created=True):
        is_stored = model._meta.managed and not model._meta.proxy
        if is_stored and model._meta.app_label != "jsonbuffer_receipts":
            names = [f.attname for f in model._meta.concrete_fields if _counts(f, ignore)]
            rows = found[model._meta.label] = Counter()
            for alias in using:
                rows.update(map(_row, _values(model, alias, names)))
    return found


def _values(model: type[Model], alias: str, names: list[str]) -> Iterable[Mapping[str, Any]]:
    rows = model._base_manager.using(alias)
    return rows.values(*names) if names else [{}] * rows.count()


def _counts(field: "Field[Any, Any]", ignore: set[str]) -> bool:
    is_automatic = field.primary_key and field.db_returning
    is_clock = getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False)
    return not (is_automatic or is_clock or {field.name, field.attname} & ignore)


def _row(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _appended() -> dict[str, Counter[str]]:
    commit_appends()
    found: dict[str, Counter[str]] = {}
    for bucket, event in journal().stored:
        found.setdefault(f"bucket {bucket!r}", Counter())[event.decode()] += 1
    return found


def _mails() -> dict[str, Counter[str]]:
    sent = [f"{each.subject!r} to {', '.join(each.to)}" for each in getattr(mail, "outbox", ())]
    return {"django.core.mail.outbox": Counter(sent)}
