"""The buckets of the visits, and what becomes of their events."""

from django.conf import settings
from django_jsonbuffer import Bucket
from django_jsonbuffer.sinks import Insert

from .models import SearchTerm

page_views = Bucket(
    "page-views",
    processor=Insert("visits.PageView"),
    receipts="default",
    on_unavailable="spill",
    spill_dir=settings.SPILL_DIR,
)

searches = Bucket("searches")


@searches.processor
async def store_terms(batch):
    for event in batch:
        await SearchTerm.objects.aupdate_or_create(
            term=event["term"], defaults={"last_searched": event["at"]}
        )
