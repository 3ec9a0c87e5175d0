"""The commands pause_buckets and resume_buckets."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_jsonbuffer import Bucket

# drain_buckets renews database connections before each batch.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_declared"),
]


def said(command: str, *args: str, **options: Any) -> list[str]:
    out = StringIO()
    call_command(command, *args, stdout=out, **options)
    return out.getvalue().splitlines()


def test_let_nobody_drain_and_then_anybody() -> None:
    got: list[int] = []
    for name in ("orders", "order-lines", "views"):
        Bucket(name).processor(got.extend)
        Bucket(name).append(1)
    assert said("pause_buckets", "order*") == ["order-lines: paused", "orders: paused"]
    call_command("drain_buckets", verbosity=0)
    assert got == [1]
    assert said("pause_buckets", "orders") == ["orders: was paused already"]
    assert said("resume_buckets", "orders", "views") == ["orders: resumed", "views: was not paused"]
    call_command("drain_buckets", verbosity=0)
    assert got == [1, 1]
    assert said("resume_buckets", "*", verbosity=0) == []
    call_command("drain_buckets", verbosity=0)
    assert got == [1, 1, 1]


def test_drain_says_that_a_bucket_is_paused() -> None:
    Bucket("orders").processor(lambda batch: None)
    Bucket("orders").append(1)
    Bucket("orders").pause()
    assert said("drain_buckets") == [
        "Nothing to drain.",
        "orders: 1 event pending and 0 in flight are left: the bucket is paused",
    ]


@pytest.mark.parametrize("command", ["pause_buckets", "resume_buckets"])
class TestRefusals:
    def test_no_bucket(self, command: str) -> None:
        with pytest.raises(CommandError, match="the following arguments are required: bucket"):
            call_command(command)

    def test_unknown_bucket(self, command: str) -> None:
        with pytest.raises(CommandError, match="No bucket matches 'orders'") as caught:
            call_command(command, "orders")
        assert caught.value.returncode == 2

    def test_redis_that_is_away(self, command: str, unreachable: str) -> None:
        with pytest.raises(CommandError, match="Redis cannot be reached"):
            call_command(command, "orders")
