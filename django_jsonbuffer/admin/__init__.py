"""The pages of the buckets in the admin. Elsewhere in the admin, only the index reads Redis."""

from django.contrib import admin

from django_jsonbuffer.models import Bucket

from .bucket_admin import BucketAdmin

__all__ = ["BucketAdmin"]

admin.site.register(Bucket, BucketAdmin)
