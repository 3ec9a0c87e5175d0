"""What is spilled on this machine, in the visitor's language."""

from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from . import catalog
from .appending.spill_size import SpillSize
from .buckets import Bucket
from .exceptions import BufferMisconfigured, SpillUnavailable
from .figures import format_count


def describe_spill(bucket: Bucket) -> tuple[SpillSize | None, list[str]]:
    """What is spilled on this machine, and a sentence about it if it needs attention."""
    try:
        spilled = catalog.spilled(bucket)
    except SpillUnavailable as error:
        return None, [
            _("What is spilled on this machine is not known. %(error)s") % {"error": error}
        ]
    except BufferMisconfigured:
        return None, []  # a system check reports the mistake
    if not spilled:
        return spilled, []
    sentence = ngettext(
        "%(number)s append (%(size)s) is spilled on this machine and waits for Redis.",
        "%(number)s appends (%(size)s) are spilled on this machine and wait for Redis.",
        spilled.appends,
    )
    size = filesizeformat(spilled.bytes)
    return spilled, [sentence % {"number": format_count(spilled.appends), "size": size}]


def describe_spills() -> list[str]:
    """A line for each bucket whose spill on this machine needs attention. Does not ask Redis."""
    return [
        f"{bucket.name}: {sentence}"
        for bucket in catalog.local_buckets()
        for sentence in describe_spill(bucket)[1]
    ]
