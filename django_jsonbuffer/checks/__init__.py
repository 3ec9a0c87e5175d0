"""System checks: each says what is wrong, and its hint says what to do.

A plain ``check`` reads settings and declarations only. ``check --deploy`` asks Redis as well.
"""

from . import declarations, server, settings, sinks

__all__ = ["declarations", "server", "settings", "sinks"]  # importing them registers their checks
