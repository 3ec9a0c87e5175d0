import time
from datetime import timedelta

from django_jsonbuffer import Batch, Bucket
from tests.declaring.buckets import receive

hooks = Bucket("hooks", batch_size=5, lease=timedelta(seconds=1))


@hooks.processor
def store(batch: Batch) -> None:
    if batch.attempt == 1 and "hang" in batch:
        receive(Batch(["hangs"], id=batch.id, attempt=1, bucket=batch.bucket))
        time.sleep(600)
    if "slow" in batch:
        time.sleep(1.3)  # longer than the limit of the Celery app
    receive(batch)
