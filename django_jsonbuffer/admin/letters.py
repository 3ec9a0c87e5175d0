"""The dead letters of a bucket, as a list and as a download."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode

from django.http import Http404

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.figures import format_moment
from django_jsonbuffer.letter_groups import LetterGroup
from django_jsonbuffer.letter_searches import Found
from django_jsonbuffer.letters import DeadLetter, is_id, place_of
from django_jsonbuffer.management.letters import format_as_json
from django_jsonbuffer.redaction import MOST_BYTES

from .display import Exhibit
from .groups import key_of, title_of

LETTERS_SHOWN: Final = 20
_DOWNLOADED_AT_ONCE: Final = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class LetterRow:
    letter: DeadLetter
    first_failed: str
    last_failed: str
    event: Exhibit
    error: Exhibit
    traceback: Exhibit


class Wanted:
    """Which dead letters the parameters of a page, or of a download, ask for."""

    def __init__(self, bucket: Bucket, parameters: Mapping[str, str]) -> None:
        self.search = parameters.get("q", "").strip()[:200]
        self.key = parameters.get("group", "")
        """Key of the group of which they are. Empty for all groups."""
        self.hides = catalog.options_of(bucket).redact is not None
        self._dead = bucket.dead

    @cached_property
    def groups(self) -> dict[str, LetterGroup]:
        """The groups of all dead letters, by their keys. They are read once."""
        return {key_of(group): group for group in self._dead.groups()}

    @property
    def is_narrow(self) -> bool:
        return bool(self.search or self.key)

    def find(self, limit: int, *, after: str | None, most_bytes: int = 0) -> Found:
        """The oldest, or those behind an id. Raises :class:`ValueError` if it is not an id.

        A search in what the option `redact` hides would tell what it hides.
        """
        group = self.groups.get(self.key) if self.key else None
        if self.key and group is None:
            return Found(letters=[], next_after=None, is_complete=True)
        if is_id(self.search):
            letters = [*self._dead.in_bulk([self.search], most_bytes=most_bytes).values()]
            return Found(letters=letters if not after else [], next_after=None, is_complete=True)
        return self._dead.find(
            limit,
            after=after,
            group=group.name if group else None,
            text=self.search,
            in_events=not self.hides,
            most_bytes=most_bytes,
        )

    def url(self, **more: str) -> str:
        """The query of a URL that asks for the same."""
        parameters = {"q": self.search, "group": self.key, **more}
        return "?" + urlencode({name: value for name, value in parameters.items() if value})


def read_letters(bucket: Bucket, parameters: Mapping[str, str]) -> dict[str, Any]:
    """The context of a page of dead letters: the oldest that match, or those behind an id."""
    wanted, after = Wanted(bucket, parameters), parameters.get("after") or None
    try:
        found = wanted.find(LETTERS_SHOWN, after=after, most_bytes=MOST_BYTES)
    except ValueError as error:
        raise Http404(str(error)) from error
    return {
        "letters": [_row(bucket, letter) for letter in found.letters],
        "wanted": wanted,
        "titles": {
            key: title_of(group, with_messages=not wanted.hides)
            for key, group in wanted.groups.items()
        },
        "query": wanted.url(),
        "here_url": wanted.url(after=after or ""),
        "first_url": wanted.url() if after else "",
        "next_url": wanted.url(after=found.next_after) if found.next_after else "",
        "is_complete": found.is_complete,
        "newest_letter": bucket.dead.newest(),
    }


def _row(bucket: Bucket, letter: DeadLetter) -> LetterRow:
    return LetterRow(
        letter=letter,
        first_failed=_moment(letter.first_failed),
        last_failed=_moment(letter.last_failed),
        event=Exhibit.of_letter(bucket, letter),
        error=Exhibit.of_error(bucket, letter),
        traceback=Exhibit.of_traceback(bucket, letter),
    )


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else format_moment(moment)


def download(bucket: Bucket, parameters: Mapping[str, str]) -> Iterator[str]:
    """The dead letters that match, one JSON object a line, without those that are buried later.

    Yields the lines page by page.
    """
    wanted, last = Wanted(bucket, parameters), bucket.dead.newest()
    after: str | None = None
    while last is not None:
        found = wanted.find(_DOWNLOADED_AT_ONCE, after=after)
        letters = [letter for letter in found.letters if letter.place <= place_of(last)]
        if letters:
            yield "".join(f"{format_as_json(bucket, letter)}\n" for letter in letters)
        if found.next_after is None or len(letters) < len(found.letters):
            return
        after = found.next_after
