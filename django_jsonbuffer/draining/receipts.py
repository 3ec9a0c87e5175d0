"""Receipts: events that were processed before are not processed again."""

from collections.abc import Callable
from typing import Final, NamedTuple

from django.apps import apps
from django.conf import settings

from django_jsonbuffer.contrib.receipts.places import Known, leading
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.options import Options
from django_jsonbuffer.processors import Processor
from django_jsonbuffer.store.claims import Claim
from django_jsonbuffer.store.origins import Origins
from django_jsonbuffer.store.store import Store

from .batches import Batch
from .processor_transactions import finish

RECEIPTS_APP: Final = "django_jsonbuffer.contrib.receipts"


class Before(NamedTuple):
    """What the receipts say about a batch before its processor is called."""

    have_receipts: bool
    """Whether the first events have receipts."""

    length: int
    """For how many events from the first on that is the same. The batch must be split behind them,
    if there are more."""

    known: Known = {}
    """The receipts of all events of the batch."""


class Receipts:
    """Reads and writes the receipts of one shard of a bucket, for one worker."""

    def __init__(self, store: Store, alias: str, options: Options) -> None:
        # The app has a model, so it can be imported only if it is installed.
        from django_jsonbuffer.contrib.receipts.ledger import Ledger

        self.alias: Final = alias
        self._shard = store.shard
        self._ledger = Ledger(store.name, alias, kept=options.receipts_kept)

    def before(self, claim: Claim) -> Before:
        """Read the receipts of a batch. Once an hour, old receipts are pruned first."""
        self._ledger.prune()
        origins = self._origins_of(claim)
        known = self._ledger.read(origins)
        return Before(*leading(origins, known), known)

    def noting(
        self, function: Callable[[Batch], object], claim: Claim, before: Before
    ) -> Callable[[Batch], None]:
        """The processor, with a receipt of what it has not rejected in the same transaction."""

        def process_and_note(batch: Batch) -> None:
            finish(function(batch))
            origins = self._origins_of(claim).without(batch.rejected)
            self._ledger.write(origins, before.known)

        return process_and_note

    def _origins_of(self, claim: Claim) -> Origins:
        return claim.origins.of_shard(self._shard)


def receipts_of(store: Store, options: Options, processor: Processor) -> Receipts | None:
    """The receipts of a shard, if its options say so. Raises :class:`BufferMisconfigured`."""
    if (alias := options.receipts) is None:
        return None
    if fault := fault_of_receipts(alias, processor):
        raise BufferMisconfigured(f"Bucket {store.name!r} {fault.problem} {fault.hint}")
    return Receipts(store, alias, options)


class Fault(NamedTuple):
    problem: str
    hint: str


def fault_of_receipts(alias: str, processor: Processor) -> Fault | None:
    """Why a bucket cannot have receipts in the database with this alias. None if it can."""
    has = f"has receipts={alias!r}, but"
    if not apps.is_installed(RECEIPTS_APP):
        hint = "Add it, and run migrate."
        return Fault(f"{has} {RECEIPTS_APP!r} is not in INSTALLED_APPS.", hint)
    if alias not in settings.DATABASES:
        return Fault(f"{has} DATABASES has no such alias.", "Correct the alias.")
    written = {*databases_of(processor.function), processor.atomic or alias}
    if others := written - {alias}:
        names = ", ".join(map(repr, sorted(others)))
        hint = "Name the database of the processor's rows in receipts=, so that one commit is both."
        return Fault(f"{has} its processor writes to the database {names}.", hint)
    return None


def databases_of(function: object) -> set[str]:
    """Aliases of the databases that a sink writes to. Of another processor nothing is known."""
    databases = getattr(function, "databases", None)
    return {*databases()} if callable(databases) else set()
