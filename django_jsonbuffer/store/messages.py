"""The messages by which scripts tell of batches."""

import random
import time
from types import TracebackType
from typing import Any, Final, Self

from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from django_jsonbuffer.conf import Configuration

from .clients import clients
from .keys import wake_channel
from .redis_cluster import is_cluster, primaries

_LONGEST_READ_SECONDS: Final = 0.5
_LONGEST_SILENCE_SECONDS: Final = 2.0
"""After so long without anything, the server is asked whether it is still there, and has as long to
answer."""


class Messages:
    """A subscription to the messages of all buckets. A context manager, which ends it.

    Raises errors of redis-py. In a cluster, any node has the messages of all nodes.
    """

    def __init__(self, configuration: Configuration) -> None:
        client: Any = clients[configuration.cache]
        if is_cluster(client):
            client = random.choice([*primaries(client).values()])
        self._subscription = client.pubsub()
        self._heard_at = time.monotonic()
        self._is_asked = False
        self.is_subscribed = False
        """Whether no message is lost any more."""
        self._channel = wake_channel(configuration.prefix)

    def __enter__(self) -> Self:
        self._subscription.subscribe(self._channel)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._subscription.close()

    def read(self) -> str:
        """The next message, or an empty text if none comes within half a second.

        The text is an ``o`` if an open batch has begun, an ``s`` if a batch can be claimed, or an
        ``n`` if that is so although workers wait because of an outage. The name of the bucket
        follows.
        """
        try:
            message = self._subscription.get_message(timeout=_LONGEST_READ_SECONDS)
        except ResponseError:
            if not self._is_asked:
                raise  # the user may not subscribe
            message = None  # the user may not send PING, but the server is there
            self._note_life()
        if message is None:
            self._doubt_silence()
            return ""
        self._note_life()
        if message["type"] == "subscribe":
            self.is_subscribed = True
        if message["type"] != "message":
            return ""
        data = message["data"]
        return data.decode(errors="replace") if isinstance(data, bytes) else str(data)

    def _note_life(self) -> None:
        self._heard_at, self._is_asked = time.monotonic(), False

    def _doubt_silence(self) -> None:
        """Ask a silent server whether it is there. Raises if it was asked before, in vain."""
        if time.monotonic() - self._heard_at < _LONGEST_SILENCE_SECONDS:
            return
        if self._is_asked:
            raise RedisTimeoutError("The server does not answer.")
        self._subscription.ping()
        self._heard_at, self._is_asked = time.monotonic(), True
