import time

from benchmarks.handlers import handle, store
from benchmarks.log import note
from django_jsonbuffer import Batch, Bucket

handled = Bucket("handled")


@handled.processor
def handle_batch(batch: Batch) -> None:
    handle(len(batch))


stored = Bucket("stored")


@stored.processor
def store_batch(batch: Batch) -> None:
    store(batch)


Bucket("ignored*", processor=lambda batch: None)
Bucket("waiting", processor=lambda batch: time.sleep(0.01))

Bucket("tenant-*", processor=note)
