"""What may be chosen for a bucket."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Any

from .exceptions import BufferMisconfigured
from .store import MAX_APPEND_BYTES


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """A bucket's options: from its declaration, or by its name from the settings."""

    batch_size: int | None = 1000
    """Most events of a batch. None never seals on append: for a bucket whose consumer takes the
    open batch itself."""

    batch_bytes: int = 4 * 1024 * 1024
    """Most bytes of a batch, unless one event alone has more."""

    linger: timedelta = timedelta(seconds=1)
    """How long an open batch waits for more events before a watching worker takes it."""

    lease: timedelta = timedelta(minutes=5)
    """How long a worker may hold a batch before another may take it over. Choose it longer than
    the processor ever runs."""

    max_event_bytes: int = 1024 * 1024
    """Most bytes of one event, as JSON."""

    on_unavailable: str | None = None
    """What becomes of events when Redis is away. ``"raise"``: an error. ``"log"``: they are lost,
    which is counted and logged. None raises where a caller can still react, in the call that
    appends or at the end of ``gathered()``, and logs what goes out after a commit, was recorded
    from a signal, or leaves with the answer to a request."""

    schema: Callable[[Any], object] | None = None
    """Called with each event before it is appended. What it returns is appended, and what it raises
    refuses the event. The ``model_validate`` of a pydantic model will do."""

    def __post_init__(self) -> None:
        for option in ("batch_size", "batch_bytes", "max_event_bytes"):
            value = getattr(self, option)
            if option == "batch_size" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BufferMisconfigured(f"{option} must be a positive integer, not {value!r}.")
            if value > MAX_APPEND_BYTES:
                raise BufferMisconfigured(f"{option} must be at most {MAX_APPEND_BYTES:,}.")
        for option in ("linger", "lease"):
            value = getattr(self, option)
            if not isinstance(value, timedelta) or value < timedelta(0):
                raise BufferMisconfigured(
                    f"{option} must be a timedelta, and not negative. It is {value!r}."
                )
        if self.on_unavailable not in (None, "raise", "log"):
            raise BufferMisconfigured(
                f"on_unavailable must be 'raise' or 'log', not {self.on_unavailable!r}."
            )
        if self.schema is not None and not callable(self.schema):
            raise BufferMisconfigured(f"schema must be callable, unlike {self.schema!r}.")


def checked_options(name: str, given: Mapping[str, Any]) -> Options:
    """The given options over the defaults. Raises :class:`BufferMisconfigured`."""
    known = [field.name for field in fields(Options)]
    if unknown := [option for option in given if option not in known]:
        raise BufferMisconfigured(
            f"Bucket {name!r} has no option {', '.join(map(repr, unknown))}. "
            f"Use {', '.join(known)}."
        )
    try:
        return Options(**given)
    except BufferMisconfigured as error:
        raise BufferMisconfigured(f"Bucket {name!r}: {error}") from None
