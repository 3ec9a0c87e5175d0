"""Where a drain looks for its next batch."""

from typing import Final

from django_jsonbuffer.store.claims import Claim, position

MOST_TRIES: Final = 3
"""After so many tries in an outage, a drain without `watch` ends. After fewer, it may be no outage,
but a row of bad events."""


class Cursor:
    """Where one drain looks for its next batch. These are arguments of :meth:`Store.claim`."""

    def __init__(self, *, watch: bool) -> None:
        self.newest: str | None = None
        """Without `watch`, id of the batch that was the newest when the drain began."""
        self.last: str | None = None
        """Behind which id to look for batches that come again. Without `watch`, it is the id of the
        newest batch that the drain claimed. A worker that watches goes round."""
        self.prefers_new = False
        """Whether to claim a batch that was never delivered next, because the last one failed."""
        self._watch = watch
        self._tries = 0
        """If the last batch failed in an outage, the tries that had failed before."""

    @property
    def is_at_end(self) -> bool:
        """Whether a drain without `watch` has nothing more to look for."""
        return not self._watch and (self.newest is None or self._tries >= MOST_TRIES)

    def note_claim(self, claim: Claim, *, is_probe: bool) -> None:
        """Note a batch that was claimed. `is_probe` says that it was chosen out of turn."""
        if self._watch:
            if claim.attempt > 1:
                self.last = claim.stream_id
        # Older batches may come after a probe, and after a try in an outage.
        elif not is_probe and not claim.row.tries:
            self.last = max(self.last or claim.stream_id, claim.stream_id, key=position)

    def note_end(self, claim: Claim, *, is_done: bool) -> None:
        """Note whether the processor has succeeded with a batch."""
        self._tries = 0 if is_done else claim.row.tries
        self.prefers_new = self._watch and not is_done and not self.prefers_new
