"""The names of buckets of which only the spill of this machine may know."""

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from .appending.spill_size import spilled_shards
from .conf import active_isolation, configuration
from .declarations import Definition, declared
from .exceptions import JSONBufferError, SpillUnavailable
from .store.keys import is_valid_name, split_key


def spilled_names() -> set[str]:
    """The names of all buckets that have events in a spill of this machine.

    No other place knows the name of a bucket that only a pattern declares, if its first append was
    spilled. Whoever forwards the events reports a spill that cannot be read: here it has no names.
    """
    found = set[str]()
    for folder in _spill_folders():
        with suppress(SpillUnavailable):
            places = {spilled[:2] for spilled in spilled_shards(folder)}
            found |= {name for start, name in places if _spills(name, start, folder)}
    return found


def _spill_folders() -> set[Any]:
    """The folders that the declarations and the setting name."""
    given: list[Mapping[str, Any]] = [bucket.given_options for bucket, _ in declared.buckets]
    given += configuration().buckets.values()
    found = [options.get("spill_dir") for options in given]
    folders = {folder for folder in found if isinstance(folder, str | os.PathLike)}
    if folders and (isolated := active_isolation()) is not None:
        return {isolated.spill_dir}
    return folders


def _spills(name: str, start: str, folder: object) -> bool:
    """Whether the bucket forwards what is there. Another site may use the folder, too."""
    if not is_valid_name(name):
        return False
    with suppress(JSONBufferError):  # wrong options: a system check reports them
        parts = Definition(name, {}).parts
        return parts.options.spill_dir == folder and (start, name) == split_key(
            parts.store.keys.open
        )
    return False
