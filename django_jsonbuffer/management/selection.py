"""The buckets that ``drain_buckets`` serves, as its arguments select them."""

import fnmatch
from collections.abc import Sequence
from typing import Final

from django_jsonbuffer import catalog
from django_jsonbuffer.buckets import Bucket
from django_jsonbuffer.declarations import declared
from django_jsonbuffer.runs import read_served
from django_jsonbuffer.store.patterns import Names

from .arguments import matching_buckets
from .wording import format_counted

_MOST_NAMED: Final = 20
"""Up to so many buckets are named one by one."""


class Selection:
    """The buckets whose names match an argument. All that have a processor if there is none."""

    def __init__(self, arguments: Sequence[str]) -> None:
        buckets, gap = catalog.read_with_processor() if arguments else read_served()
        self._arguments = arguments or ["*"]
        known = {bucket.name: bucket for bucket in buckets}
        # The exact name also selects a bucket without a processor. The command then fails, and says
        # that the bucket has no processor.
        known |= {name: Bucket(name) for name in arguments if catalog.may_be_drained(name)}
        # If there is a pattern, an argument may match buckets that do not exist yet.
        growing = [each for each in self._arguments if "*" in each] if declared.patterns else []
        self.buckets, self.gap = matching_buckets(
            self._arguments, among=known, gap=gap, growing=growing
        )
        """The buckets that exist, as far as they are known."""
        names = [bucket.name for bucket in self.buckets]
        self.serves = Names([*names, *(declared.patterns if growing == ["*"] else growing)])
        """These, and the patterns of those that may follow."""

    def accepts(self, name: str) -> bool:
        """Whether a bucket that is found later is one of them."""
        is_selected = any(fnmatch.fnmatchcase(name, each) for each in self._arguments)
        return is_selected and declared.find_processor(name) is not None

    def __str__(self) -> str:
        names = self.serves.all
        if len(names) <= _MOST_NAMED:
            return ", ".join(names)
        return format_counted(len(names), "bucket", "buckets")
