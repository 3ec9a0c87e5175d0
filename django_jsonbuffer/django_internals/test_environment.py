"""Whether this process runs tests."""

import sys
from pathlib import Path
from typing import Final

_PROGRAM: Final = Path(*sys.argv[:1]).parts[-2:]
_IS_DJANGO: Final = _PROGRAM[-1:] in (("manage.py",), ("django-admin",)) or (
    _PROGRAM == ("django", "__main__.py")
)
_IS_PYTEST: Final = _PROGRAM[-1:] == ("pytest",) or _PROGRAM == ("pytest", "__main__.py")
_PLUGIN: Final = "django_jsonbuffer_pytest"


def is_test_run() -> bool:
    """Whether the program is ``manage.py test`` or pytest, from its start.

    A child process that multiprocessing spawns has the arguments of its parent.
    """
    is_of_django = _IS_DJANGO and sys.argv[1:2] == ["test"]
    return is_of_django or _IS_PYTEST or _PLUGIN in sys.modules


def is_test_environment() -> bool:
    """Whether the program is ``manage.py test`` or pytest, or has called
    ``setup_test_environment()``.

    All test runners call that function, but later: the apps and the tests are loaded before. Relies
    on ``django.test.utils._TestState``, where it keeps what it has changed. A process that serves a
    site has usually not imported ``django.test``, and does not do it here.
    """
    if _IS_TEST_RUN or _PLUGIN in sys.modules:
        return True
    utils = sys.modules.get("django.test.utils")
    return utils is not None and hasattr(utils._TestState, "saved_data")


_IS_TEST_RUN: Final = is_test_run()
