"""The dead letters that a visitor has selected on the page of a bucket."""

from typing import NamedTuple, Self

from django.core.exceptions import BadRequest
from django.http import HttpRequest

from django_jsonbuffer.letters import is_id


class Selection(NamedTuple):
    """Single dead letters, or all up to one of them. It is false if none is selected."""

    ids: list[str]
    up_to: str
    """If all are selected: id of the newest dead letter when the page was made. Later dead letters,
    which the visitor has not seen, are not selected."""

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """The selection in the form. Raises :class:`BadRequest` if ``newest`` is not an id."""
        if "all" not in request.POST:
            return cls(request.POST.getlist("letter"), "")
        up_to = request.POST.get("newest", "")
        if not is_id(up_to):
            raise BadRequest(f"{up_to!r} is not the id of a dead letter.")
        return cls([], up_to)

    def __bool__(self) -> bool:
        return bool(self.ids or self.up_to)
