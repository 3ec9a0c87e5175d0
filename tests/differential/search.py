"""Programs with one seed, until they have run a number of steps."""

import time
from itertools import count

from pytest_django import Settings

from tests.differential import (  # noqa: F401
    bulk_steps,
    link_steps,
    outside_steps,
    row_steps,
)
from tests.differential.blueprints import blueprints
from tests.differential.databases import Router, connected
from tests.differential.faults import Faults
from tests.differential.programs import described, make_program
from tests.differential.running import Worlds
from tests.differential.scale import ONLY, STEPS
from tests.differential.worlds import World
from tests.faults.scale import report


def search(seed: int, config: dict[str, object], settings: Settings) -> list[str]:
    """Run the programs of the seed. Returns a line for each distinct fault."""
    settings.DATABASE_ROUTERS = [Router()]
    settings.TIME_ZONE = "America/New_York"
    with connected(config) as vendor:
        models = blueprints(seed, vendor)
        prefix = f"{vendor}{seed}x"
        plain = World(f"{prefix}plain", models, is_recorded=False)
        recorded = World(f"{prefix}told", models, is_recorded=True)
        with plain.tables(), recorded.tables():
            recorded.record()
            return _search(seed, vendor, Worlds(plain, recorded))


def _search(seed: int, vendor: str, worlds: Worlds) -> list[str]:
    models = [*worlds.plain.blueprints.values()]
    faults = Faults()
    steps = 0
    began = time.monotonic()
    for number in count(ONLY or 0):
        program = make_program(seed, number, models)
        found, taken = worlds.faults(program)
        faults.add(found)
        steps += taken
        if ONLY is not None:
            print(*described(program, worlds.plain.blueprints[program.model]), sep="\n")
            return faults.lines()
        if steps >= STEPS:
            break
    per_second = round(steps / (time.monotonic() - began))
    report(f"Recording on {vendor}, seed {seed}", steps=steps, steps_per_second=per_second)
    return faults.lines()
