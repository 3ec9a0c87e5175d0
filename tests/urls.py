from django.contrib import admin
from django.urls import path

from django_jsonbuffer.admin import BucketAdmin
from django_jsonbuffer.models import Bucket

# Of the class that a theme may have put in the place of Django's.
second_site = admin.site.__class__(name="second")
second_site.register(Bucket, BucketAdmin)

urlpatterns = [path("admin/", admin.site.urls), path("second/", second_site.urls)]
