"""The Celery app, as in Celery's guide for Django."""

from celery import Celery

app = Celery("benchmarks", include=["benchmarks.tasks"])
app.config_from_object("django.conf:settings", namespace="CELERY")
