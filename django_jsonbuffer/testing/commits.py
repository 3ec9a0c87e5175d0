"""The commit of a ``TestCase``, which never comes."""

from django_jsonbuffer.appending.commits import leave_test_cases

from .journal import required_isolation


def commit_appends() -> None:
    """Append what waits for the commit of the test case, as a commit at this moment would.

    A ``TestCase`` of Django rolls its transaction back. What is appended within an ``atomic()``
    block of the test itself goes on waiting for the end of that block. Outside of such blocks,
    appends do not wait.
    """
    leave_test_cases(required_isolation())
