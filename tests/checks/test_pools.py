import re
from collections.abc import Callable

import pytest

from django_jsonbuffer.declarations import declared
from tests.checks.messages import found


@pytest.fixture
def use_pool(use_cache: Callable[..., str]) -> Callable[[int], None]:
    def use_pool(size: int) -> None:
        use_cache(f"redis://127.0.0.1:1/9?max_connections={size}&socket_timeout=1")

    return use_pool


@pytest.mark.parametrize("threads", ["--threads 8", "--bind=[::1]:1 --threads=8 -w 3"])
def test_pool_too_small_for_the_threads_of_gunicorn(
    monkeypatch: pytest.MonkeyPatch,
    configure: Callable[..., None],
    use_pool: Callable[[int], None],
    threads: str,
) -> None:
    configure(GROUP_COMMIT=False)
    monkeypatch.setenv("GUNICORN_CMD_ARGS", threads)
    use_pool(7)
    message = found()["W013"]
    assert "at most 7 connections" in message.msg
    assert "may need 8" in message.msg
    assert re.search(r"max_connections in CACHES\['.*'\]\['LOCATION'\] to 8", str(message.hint))
    use_pool(8)
    assert "W013" not in found()


def test_hint_names_the_option_of_the_pool(
    monkeypatch: pytest.MonkeyPatch, use_cache: Callable[..., str]
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--threads 500")
    options = {"CONNECTION_POOL_KWARGS": {"max_connections": 1}}
    use_cache("redis://127.0.0.1:1/9?socket_timeout=1", OPTIONS=options)
    hint = str(found()["W013"].hint)
    assert "max_connections in CACHES['" in hint
    assert "']['OPTIONS']['CONNECTION_POOL_KWARGS'] to " in hint


def test_group_commit_needs_no_more_than_the_buckets(
    monkeypatch: pytest.MonkeyPatch, use_pool: Callable[[int], None]
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--threads 500")
    buckets = len({str(each.bucket.name) for each in declared.buckets})
    assert buckets > 1
    use_pool(buckets)
    assert "W013" not in found()
    use_pool(buckets - 1)
    assert f"may need {buckets}" in found()["W013"].msg


@pytest.mark.usefixtures("nothing_declared")
def test_buckets_that_are_not_declared_may_be_many(
    monkeypatch: pytest.MonkeyPatch, use_pool: Callable[[int], None]
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--threads 50")
    use_pool(4)
    assert "may need 50" in found()["W013"].msg


@pytest.mark.parametrize("options", ["", "-w 3", "--threads many", "--threads '8"])
def test_threads_that_are_not_known_need_none(
    monkeypatch: pytest.MonkeyPatch, use_pool: Callable[[int], None], options: str
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", options)
    use_pool(1)
    assert "W013" not in found()
