"""In which contexts the events of a schedule are appended, as a tracer sees them."""

from collections.abc import Sequence

from django_jsonbuffer.store.traces import Traces


class Contexts:
    """The context of each event. Two of three appends are traced."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def note(self, events: Sequence[int]) -> None:
        """These are the events of one append."""
        first = events[0]
        context = f"{first:032x}-{first:016x}" if first % 3 else ""
        self._known |= dict.fromkeys(events, context)

    def of(self, event: int) -> str:
        return self._known[event]

    def fault(self, events: Sequence[int], text: bytes, *, is_complete: bool) -> str:
        """What is wrong with the traces of a batch. Empty if nothing is.

        Unless `is_complete`, contexts may be missing.
        """
        traces = Traces.read(text.decode())
        for run in traces.runs:
            for event in events[run.first : run.end] or [-1]:
                if self._known.get(event) != run.context:
                    return f"event {event} has the context {run.context}"
        for place, event in enumerate(events):
            if is_complete and traces.context_of(place) != self._known[event]:
                return f"event {event} has lost its context"
        return ""
