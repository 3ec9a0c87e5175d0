"""Found by autodiscovery, as in any installed app."""

import json
import time
from datetime import timedelta

from django_jsonbuffer import Batch, Bucket
from django_jsonbuffer.conf import configuration
from tests import server

page_views = Bucket("page-views", batch_size=100)
scripted = Bucket("scripted", batch_size=10)
timed = Bucket("timed", batch_size=1, processor_timeout=timedelta(seconds=0.2))
for_a_foreign_consumer = Bucket("foreign", batch_size=None)


def done_key() -> str:
    """LIST of the events that a processor of another process has seen."""
    return f"{configuration().prefix}:done"


@page_views.processor
def receive(batch: Batch) -> None:
    with server.connected() as plain:
        plain.rpush(done_key(), *(json.dumps(event) for event in batch))


@timed.processor
@scripted.processor
def obey(batch: Batch) -> None:
    """Does what the events say."""
    for event in batch:
        if "announce" in event:
            receive(Batch([event], id=batch.id, attempt=batch.attempt, bucket=batch.bucket))
        if "print" in event:
            print(event["print"])
        if "sleep" in event:
            time.sleep(event["sleep"])
        if "fail" in event:
            raise ValueError(event["fail"])
    receive(batch)
