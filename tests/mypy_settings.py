"""Settings for the type checker: the example's, with the models of the suite."""

from example_project.settings import *  # noqa: F403
from example_project.settings import INSTALLED_APPS

INSTALLED_APPS = [
    *INSTALLED_APPS,
    "tests.differential",
    "tests.library",
    "tests.sinks",
]
