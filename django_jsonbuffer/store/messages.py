"""The messages by which scripts tell of batches."""

from types import TracebackType
from typing import Any, Final, Self

from django_jsonbuffer.conf import Configuration

from .clients import clients
from .keys import wake_channel

_LONGEST_READ_SECONDS: Final = 0.5


class Messages:
    """A subscription to the messages of all buckets. A context manager, which ends it.

    Raises errors of redis-py. In a cluster, any node has the messages of all nodes.
    """

    def __init__(self, configuration: Configuration) -> None:
        client: Any = clients[configuration.cache]
        self._subscription = client.pubsub()
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

        The text is an ``o`` if an open batch has begun, or an ``s`` if a batch can be claimed. The
        name of the bucket follows.
        """
        message = self._subscription.get_message(timeout=_LONGEST_READ_SECONDS)
        if message is None or message["type"] != "message":
            return ""
        data = message["data"]
        return data.decode(errors="replace") if isinstance(data, bytes) else str(data)
