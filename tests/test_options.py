import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.limits import MAX_APPEND_BYTES
from django_jsonbuffer.options import Options, checked_options


def test_defaults() -> None:
    options = Options()
    assert options.batch_size == 1000
    assert options.batch_bytes == 4 * 1024 * 1024
    assert options.schema is None
    assert options.on_unavailable is None
    assert options.linger == timedelta(seconds=1)
    assert options.lease == timedelta(minutes=1)
    assert options.max_event_bytes == 1024 * 1024


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 0},
        {"batch_size": -1},
        {"batch_size": 1.5},
        {"batch_size": "10"},
        {"batch_size": True},
        {"batch_bytes": None},
        {"batch_bytes": 2**30},
        {"max_event_bytes": 0},
        {"max_event_bytes": 2**30},
        {"linger": 1},
        {"linger": timedelta(seconds=-1)},
        {"lease": None},
        {"schema": "validate"},
        {"redact": "hide"},
        {"behind_after": 120},
        {"behind_after": timedelta(seconds=-1)},
        {"on_unavailable": "ignore"},
        {"on_unavailable": []},
        {"durability": "nonsense"},
        {"durability": True},
        {"max_attempts": 0},
        {"max_pending": 0},
        {"max_pending_bytes": "1"},
        {"overflow": "drop"},
        {"append_timeout": 5},
        {"max_dead": 0},
        {"max_dead": True},
        {"dead_after": 60},
        {"dead_after": timedelta(seconds=-1)},
        {"outage_errors": OSError},
        {"outage_errors": ("OSError",)},
        {"batch_sise": 1},
    ],
    ids=str,
)
def test_one_error_names_bucket_and_option(given: dict[str, Any]) -> None:
    with pytest.raises(BufferMisconfigured) as caught:
        checked_options("orders", given)
    assert "orders" in str(caught.value)
    assert next(iter(given)) in str(caught.value)


def test_no_batch_size_is_a_choice() -> None:
    assert checked_options("orders", {"batch_size": None}).batch_size is None


@pytest.mark.parametrize(
    "given",
    [
        {"batch_size": 1},
        {"batch_size": MAX_APPEND_BYTES},
        {"batch_bytes": MAX_APPEND_BYTES},
        {"linger": timedelta(0)},
        {"lease": timedelta(0)},
        {"max_dead": 1},
        {"max_dead": None, "dead_after": None},
        {"dead_after": timedelta.max},
        {"on_unavailable": "raise"},
        {"on_unavailable": "drop"},
        {"durability": "replicated"},
        {"durability": "fsynced"},
    ],
    ids=str,
)
def test_limit_itself_is_allowed(given: dict[str, Any]) -> None:
    assert checked_options("orders", given) == Options(**given)


REFERENCE = Path(__file__).parent.parent / "docs" / "reference.md"


def shown(default: object) -> set[str]:
    """How the page may show a default."""
    if isinstance(default, timedelta):
        seconds = int(default.total_seconds())
        return {f"{seconds} s", f"{seconds // 60} min" if seconds % 60 == 0 else ""}
    if isinstance(default, int):
        return {str(default), f"{default // 2**20} MiB" if default % 2**20 == 0 else ""}
    if isinstance(default, str):
        return {f'`"{default}"`'}
    return {"none", "`None`"} if default is None else {f"`{default!r}`"}


@pytest.mark.parametrize("name", [field.name for field in fields(Options)])
def test_reference_has_each_option_with_its_default(name: str) -> None:
    page, _, _ = REFERENCE.read_text().partition("\n## Methods")
    [default] = re.findall(rf"^\| `{name}` \| ([^|]+) \|", page, re.MULTILINE)
    assert default in shown(getattr(Options(), name))


def test_misspelled_option_is_suggested() -> None:
    with pytest.raises(BufferMisconfigured) as caught:
        checked_options("orders", {"batchsize": 5})
    start, _, options = str(caught.value).partition(" The options are ")
    assert start == "Bucket 'orders' has no option 'batchsize'. Did you mean 'batch_size'?"
    assert options.removesuffix(".").split(", ") == [field.name for field in fields(Options)]
