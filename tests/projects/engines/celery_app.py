"""A Celery app as in Celery's guide for Django. Its broker is the Redis of the test."""

import os

from celery import Celery

from django_jsonbuffer.contrib.celery import beat_schedule
from tests import server

app = Celery("tests")
app.conf.update(
    broker_url=server.URL.replace("unix:", "redis+socket:").replace("?db=", "?virtual_host="),
    broker_transport_options={"global_keyprefix": f"{os.environ.get('TEST_PREFIX')}:"},
    broker_connection_retry_on_startup=False,
    beat_schedule=beat_schedule(every_seconds=0.5),
    task_soft_time_limit=1,
)
