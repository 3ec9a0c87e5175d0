from datetime import timedelta

from django_jsonbuffer import Batch, Bucket
from example_project.shop.models import PageView

page_views = Bucket("page-views", batch_size=1000, linger=timedelta(seconds=1))


@page_views.processor
def store(batch: Batch) -> None:
    PageView.objects.bulk_create(PageView(**view) for view in batch)
