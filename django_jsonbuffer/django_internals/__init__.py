"""Each undocumented part of Django that this app relies on, and why.

Any release of Django may change these parts. Each function has a test in
``tests/test_django_internals.py``, which fails when that part is gone or means something else.
``Field.attname`` is the exception: it is used where it is needed, and the same module tests it.
"""
