"""Random schedules of all operations of a bucket, on a real server and on a Redis in memory.

A schedule is a random sequence of steps. Its seed determines all of it. A step is an operation of
the store, a command of another client that damages the keys, or a change of the clock. A client
compares the reply to each command, and the contents of all keys every few steps.
"""

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.exceptions import JSONBufferError
from django_jsonbuffer.store import catalog_entries
from django_jsonbuffer.store.clients import clients

from .comparing import Difference, Pair
from .damage import Damage
from .operations import Operations

BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)
ALIAS: Final = "both servers"

OPERATIONS: Final = Counter(
    **dict.fromkeys(["take", "purge", "peek", "pause", "set_aside", "lose", "catalog"], 1),
    **dict.fromkeys(["deliveries", "refusals", "discard", "expire", "register"], 1),
    **dict.fromkeys(["seal", "renew", "retire", "list_dead", "replay"], 2),
    **dict.fromkeys(["bury", "resume", "status"], 3),
    **dict.fromkeys(["split", "beat", "look"], 4),
    **dict.fromkeys(["ack", "release"], 6),
    claim=8,
    append=16,
)
"""How often each operation comes, in comparison."""

STEPS: Final = OPERATIONS + Counter(wait=6, interfere=4, turn_back=1)
WAITS: Final = [0.125, 0.375, 2, 11, 61, 61, 3600, 90_000]
SET_BACK: Final = [0.125, 0.5, 3, 40, 3600]
"""Seconds."""


class Schedule:
    def __init__(self, servers: Pair, seed: int) -> None:
        self._chance = random.Random(seed)
        self._trace: list[str] = []
        self._servers = servers
        self._now = BEGINNING
        configuration = Configuration(cache=ALIAS, prefix="s")
        self._operations = Operations(configuration, self._chance, self._tell)
        self._damage = Damage(servers.client, self._operations.store.keys, self._chance)

    @property
    def trace(self) -> str:
        return "\n".join(self._trace)

    def run(self, tally: Counter[str]) -> None:
        """Run all steps, and delete all keys. Raises :class:`Difference`."""
        random.seed(self._chance.random())  # for the tokens
        clients[ALIAS] = self._servers.client
        self._servers.stop_clock(self._now)
        catalog_entries.written.discard(self._operations.store.identity)
        try:
            for number in range(self._chance.randint(10, 50)):
                self._step(tally)
                if number % 10 == 9:
                    self._servers.check_contents()
            self._servers.check_contents()
        finally:
            self._servers.client.flushall()
            del clients[ALIAS]

    def _step(self, tally: Counter[str]) -> None:
        what = self._chance.choices([*STEPS], [*STEPS.values()])[0]
        self._trace.append(what)
        try:
            getattr(self._operations if what in OPERATIONS else self, what)()
            tally[what] += 1
        except JSONBufferError as error:
            self._tell(type(error).__name__)
            tally[f"{what} refused"] += 1
        self._servers.check()

    def _tell(self, line: str) -> None:
        self._trace.append(f"  {line}")

    def wait(self) -> None:
        self._set_clock(self._now + timedelta(seconds=self._chance.choice(WAITS)))

    def turn_back(self) -> None:
        self._set_clock(self._now - timedelta(seconds=self._chance.choice(SET_BACK)))

    def _set_clock(self, now: datetime) -> None:
        self._now = now
        self._tell(str(now))
        self._servers.stop_clock(now)

    def interfere(self) -> None:
        self._tell(str(self._damage.do()))


def compare(servers: Pair, seeds: Iterable[int], tally: Counter[str]) -> None:
    """Run the schedules of these seeds. Raises :class:`Difference` with the steps until it."""
    for seed in seeds:
        schedule = Schedule(servers, seed)
        try:
            schedule.run(tally)
        except Difference as difference:
            text = f"Schedule {seed}:\n{schedule.trace}\n{difference}"
            raise Difference(text) from difference
