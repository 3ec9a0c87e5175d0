"""Runs Lua 5.1 in Python: the part of the language that scripts for Redis use.

:func:`.translation.translate` turns a script into Python source, from the tokens of :mod:`.tokens`.
:mod:`.values` and :mod:`.library` are what that source calls. Strings are bytes, nil is None.
"""
