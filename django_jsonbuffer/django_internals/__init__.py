"""Each undocumented part of Django that this app relies on, and why.

Any release of Django may change these parts. Each function has a test in
``tests/django_internals/``, which fails when that part is gone or means something else.
``Field.attname`` is an exception: many modules use it directly, and the same tests cover it.
"""
