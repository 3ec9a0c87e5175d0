"""How many steps are run, and on which databases.

``DIFFERENTIAL=3:17`` runs program 17 of seed 3 and no other, and prints it.
"""

import os
from typing import Final

IS_FULL: Final = os.environ.get("FAULTS") == "full"

HAS_SERVERS: Final = IS_FULL or os.environ.get("DATABASES") == "all"
"""Whether PostgreSQL and MariaDB are started."""

_only = os.environ.get("DIFFERENTIAL", "")

ONLY: Final = int(_only.split(":")[1]) if _only else None
"""Number of the only program that is run."""

_COUNT: Final = 8 if IS_FULL else 2 if HAS_SERVERS else 1

SEEDS: Final = [int(_only.split(":")[0])] if _only else [*range(_COUNT)]

STEPS: Final = int(os.environ.get("STEPS", 2500 if IS_FULL else 200))
"""Steps of each seed."""
