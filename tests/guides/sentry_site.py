"""A process that reports to Sentry as the docs say. Prints what it would send."""

import json
from typing import Any

import django
import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from tests.guides.pages import DOCS, blocks


class InMemory(Transport):
    """Keeps the events in place of sending them."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        if event := envelope.get_event():
            self.events.append(event)


def main() -> None:
    from django_jsonbuffer import Batch, Bucket

    transport = InMemory()
    sentry_sdk.init(dsn="https://key@sentry.example/1", transport=transport)
    page = (DOCS / "monitoring.md").read_text()
    [hook] = [block for block in blocks(page) if "sentry_sdk" in block.code]
    # It has to last, because receivers are weak.
    namespace: dict[str, Any] = {"__name__": "shop.buckets"}
    exec(hook.code, namespace)

    bucket = Bucket("orders")

    @bucket.processor
    def store(batch: Batch) -> None:
        raise ValueError("no total")

    bucket.extend([1, 2])
    bucket.drain()
    sentry_sdk.flush()
    print(json.dumps(transport.events, default=str))


if __name__ == "__main__":
    django.setup()
    main()
