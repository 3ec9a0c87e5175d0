"""Check of the connection pool: whether the threads of a process have enough connections."""

import os
import shlex
from argparse import ArgumentError, ArgumentParser
from collections.abc import Iterator

from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning

from django_jsonbuffer.conf import Configuration
from django_jsonbuffer.declarations import declared
from django_jsonbuffer.store import clients


def check_pool(current: Configuration) -> Iterator[CheckMessage]:
    """Whether the pool is too small for the appends of the threads of gunicorn."""
    size, threads = clients.pool_size(current.cache), _threads_of_gunicorn()
    # With group commit, threads that append to one bucket need one connection together. If none is
    # declared, it is not known how many there are.
    buckets = len({str(each.bucket.name) for each in declared.buckets})
    needed = min(threads, buckets or threads) if current.group_commit else threads
    if size < needed:
        yield CheckWarning(
            f"The client of the cache {current.cache!r} has at most {size} connections in a "
            f"process. The appends of {threads} threads of gunicorn may need {needed} at a time: "
            "those that find none free wait, and fail after append_timeout.",
            hint=(
                f"Set {clients.pool_option(current.cache)} to {needed}, or more for the other "
                "users of this cache."
            ),
            id="django_jsonbuffer.W013",
        )


def _threads_of_gunicorn() -> int:
    """The threads of each process. 0 if this is not known.

    Gunicorn takes options from its command line, a configuration file, and the environment variable
    ``GUNICORN_CMD_ARGS``. A command of Django can see only the last of these.
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--threads", type=int, default=0)
    try:
        options, _ = parser.parse_known_args(shlex.split(os.environ.get("GUNICORN_CMD_ARGS", "")))
    except (ArgumentError, ValueError):  # gunicorn reports it
        return 0
    return int(options.threads)
