"""Optional apps. A project that uses one adds it to ``INSTALLED_APPS``."""
