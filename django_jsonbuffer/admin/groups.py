"""Dead letters in groups by error, as pages show and name them."""

from dataclasses import dataclass
from typing import Final

from django.utils.crypto import salted_hmac
from django.utils.translation import gettext as _

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.escapes import escape_invisible
from django_jsonbuffer.figures import format_count, format_moment
from django_jsonbuffer.letter_groups import LetterGroup

from .display import Exhibit

EXAMPLES: Final = 5
"""So many groups have an example: those that are not folded."""

EXAMPLE_BYTES: Final = 8 * 1024
"""Most bytes of the event that is shown as the example of a group."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupRow:
    """The dead letters with the same kind of error."""

    key: str
    """Stands for the group in URLs and forms."""

    title: str
    count: str
    first: str
    last: str
    example: Exhibit | None
    """The event of the newest. None if the visitor may not see events, or if it is gone."""


def describe_groups(bucket: Bucket, *, with_events: bool) -> list[GroupRow]:
    """A row for each group, the largest first. Without `with_events`, only the class of an error
    is shown, because its message may quote an event.
    """
    groups = bucket.dead.groups()
    with_messages = with_events and catalog.options_of(bucket).redact is None
    newest = [each.newest for each in groups[:EXAMPLES]] if with_events else []
    examples = bucket.dead.in_bulk(newest, most_bytes=EXAMPLE_BYTES)
    return [
        GroupRow(
            key=key_of(group),
            title=title_of(group, with_messages=with_messages),
            count=format_count(group.count),
            first=format_moment(group.first),
            last=format_moment(group.last),
            example=Exhibit.of_letter(bucket, examples[group.newest])
            if group.newest in examples
            else None,
        )
        for group in groups
    ]


def key_of(group: LetterGroup) -> str:
    """Stands for the group in forms and URLs, where its name must not be: it may quote an event."""
    return salted_hmac(__name__, group.name, algorithm="sha256").hexdigest()[:16]


def find_group(bucket: Bucket, key: str) -> LetterGroup | None:
    """The group with this key. None if there is none any more."""
    return next((each for each in bucket.dead.groups() if key_of(each) == key), None)


def title_of(group: LetterGroup, *, with_messages: bool) -> str:
    """The error. Without `with_messages` only its class, because a message may quote an event."""
    return escape_invisible(group.name if with_messages else group.kind) or _("other errors")
