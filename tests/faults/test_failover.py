"""What a failover loses, and what it lets come twice, by the settings of bucket and servers.

A short run has the settings that must lose nothing. A full one also measures the others.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.faults.confirming import confirming, report_figures
from tests.faults.scale import IS_FULL, scale
from tests.faults.sentinels import Service, service
from tests.guides.pages import DOCS, blocks

BEFORE: Final = scale(full=4000, short=300)
"""Events that are confirmed before the fault."""

AFTER: Final = scale(full=3000, short=300)
"""Events that are confirmed once there is another primary."""

CUT_SECONDS: Final = scale(full=1.0, short=0.5)

GUARD: Final = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2")


class Setting(NamedTuple):
    durability: str | None
    args: tuple[str, ...] = ()
    """Further arguments of the servers."""
    shards: int = 1


SETTINGS: Final = {
    "no durability": Setting(None),
    "replicated": Setting("replicated"),
    "replicated, shards": Setting("replicated", shards=6),
    "min-replicas": Setting(None, GUARD),
    "replicated and min-replicas": Setting("replicated", GUARD),
}

LOSING_NOTHING: Final = {
    (fault, name)
    for fault in ("under load", "both cut off", "one cut off")
    for name in ("replicated", "replicated, shards", "replicated and min-replicas")
}
"""Fault and setting of the cases in which nothing confirmed may be lost."""


def nothing(servers: Service) -> None:
    """The replicas have what a network has delivered."""


def both_cut_off(servers: Service) -> None:
    servers.cut_off(2)
    time.sleep(CUT_SECONDS)


def one_cut_off(servers: Service) -> None:
    """A failover chooses the other replica, because it has more."""
    servers.cut_off(1)
    time.sleep(CUT_SECONDS)


def preferred_one_cut_off(servers: Service) -> None:
    servers.prefer_the_first_replica()
    one_cut_off(servers)


FAULTS: Final[dict[str, Callable[[Service], None]]] = {
    "under load": nothing,
    "both cut off": both_cut_off,
    "one cut off": one_cut_off,
    "the preferred one cut off": preferred_one_cut_off,
}


@pytest.fixture
def servers(
    request: pytest.FixtureRequest, tmp_path: Path, use_cache: Callable[..., str]
) -> Iterator[Service]:
    cache = cache_of_the_page()
    with service(tmp_path, *request.param) as servers:
        cache["OPTIONS"]["SENTINELS"] = servers.sentinels
        # Pools are shared by their URL, so each test has another one.
        use_cache(f"{cache.pop('LOCATION')}?client_name={secrets.token_hex(4)}", **cache)
        yield servers


def cache_of_the_page() -> Any:
    """The settings of the page about failover, as they are printed there."""
    settings: dict[str, Any] = {}
    page = (DOCS / "failover.md").read_text()
    exec(next(block.code for block in blocks(page) if "CACHES" in block.code), settings)
    return settings["CACHES"][settings["JSONBUFFER"]["CACHE"]]


def cases() -> Iterator[object]:
    for fault in FAULTS:
        for name, setting in SETTINGS.items():
            if IS_FULL or (fault, name) == ("both cut off", "replicated"):
                yield pytest.param(setting.args, fault, name, id=f"{fault}, {name}")


@pytest.mark.parametrize(("servers", "fault", "name"), [*cases()], indirect=["servers"])
def test_failover(servers: Service, fault: str, name: str) -> None:
    seen = confirming(SETTINGS[name].durability, shards=SETTINGS[name].shards)
    with seen.draining(), seen.appending():
        seen.wait_for_more(BEFORE)
        FAULTS[fault](servers)
        servers.kill_primary()
        seen.wait_for_more(AFTER)
    report_figures(fault, name, seen)
    if (fault, name) in LOSING_NOTHING:
        assert seen.lost == 0
