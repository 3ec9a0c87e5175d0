from django.contrib import admin
from django.urls import path

from django_jsonbuffer.admin import BucketAdmin
from django_jsonbuffer.models import Bucket

second_site = admin.AdminSite(name="second")
second_site.register(Bucket, BucketAdmin)

urlpatterns = [path("admin/", admin.site.urls), path("second/", second_site.urls)]
