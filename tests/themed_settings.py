"""Settings of the suite, with the theme for the admin that the environment names."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [os.environ["THEME"], *INSTALLED_APPS]
