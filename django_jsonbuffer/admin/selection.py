"""The dead letters or the failed batch that a visitor has selected on the page of a bucket."""

from typing import NamedTuple, Self

from django.core.exceptions import BadRequest
from django.http import HttpRequest, QueryDict

from django_jsonbuffer.letters import is_id


class Selection(NamedTuple):
    """Single dead letters, all of a group, or all. Or a batch. It is false if none is selected."""

    ids: tuple[str, ...] = ()
    up_to: str = ""
    """If all letters, or all of a group, are selected: id of the newest dead letter when the page
    was made. Later dead letters, which the visitor has not seen, are not selected."""

    group: str | None = None
    """The key of a group of dead letters."""

    batch: str = ""
    """Id of a failed batch."""

    page: str | None = None
    """The query of the page of dead letters that the visitor comes from; None from another page."""

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """The selection in the form. Raises :class:`BadRequest` if ``newest`` is not an id."""
        form = request.POST
        page = None
        if "letters" in form:
            page = QueryDict(form["letters"].removeprefix("?")).urlencode()
        if not ("all" in form or "group" in form):
            ids = tuple(form.getlist("letter"))
            return cls(ids=ids, batch=form.get("batch", ""), page=page)
        return cls.of_all(request)._replace(group=form.get("group"), page=page)

    @classmethod
    def of_all(cls, request: HttpRequest) -> Self:
        """All dead letters up to ``newest``. Raises :class:`BadRequest` if it is not an id."""
        up_to = request.POST.get("newest", "")
        if not is_id(up_to):
            raise BadRequest(f"{up_to!r} is not the id of a dead letter.")
        return cls(up_to=up_to)

    def __bool__(self) -> bool:
        return bool(self.ids or self.up_to or self.batch)

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """The same as fields of a form."""
        page = () if self.page is None else (("letters", self.page),)
        return (*self._letters, *page)

    @property
    def _letters(self) -> tuple[tuple[str, str], ...]:
        if self.group is not None:
            return ("group", self.group), ("newest", self.up_to)
        if self.up_to:
            return ("all", "1"), ("newest", self.up_to)
        return tuple(("letter", id) for id in self.ids)
