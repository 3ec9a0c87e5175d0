"""The signals of a worker, with the facts that they carry."""

from collections.abc import Sequence

from django_jsonbuffer.signals import batch_failed, batch_processed, events_buried
from django_jsonbuffer.store.claims import Claim

from .batches import Processed


def announce_processed(bucket: str, processed: Processed) -> None:
    """Announce a batch that was acknowledged, and the events that its processor rejected."""
    claim, rejected = processed.claim, processed.batch.rejected
    batch_processed.announce(
        bucket,
        batch_id=claim.id,
        attempt=claim.attempt,
        count=processed.length - len(rejected),
        seconds=processed.seconds,
    )
    if rejected:
        announce_buried(bucket, claim, "rejected", [rejected[at] for at in sorted(rejected)])


def announce_failed(
    bucket: str, claim: Claim, error: BaseException, outcome: str, *, seconds: float
) -> None:
    """Announce a batch whose processor raised. `outcome` is what became of the batch."""
    batch_failed.announce(
        bucket,
        batch_id=claim.id,
        attempt=claim.attempt,
        count=claim.count,
        seconds=seconds,
        error=error,
        outcome=outcome,
    )


def announce_buried(
    bucket: str, claim: Claim, reason: str, errors: Sequence[str | BaseException]
) -> None:
    """Announce events of a batch that became dead letters, each with its error."""
    events_buried.announce(
        bucket,
        batch_id=claim.id,
        attempt=claim.attempt,
        count=len(errors),
        reason=reason,
        errors=errors,
    )
