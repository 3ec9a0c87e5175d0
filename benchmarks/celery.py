"""The app of Celery, as its guide for Django has it."""

from celery import Celery

app = Celery("benchmarks", include=["benchmarks.tasks"])
app.config_from_object("django.conf:settings", namespace="CELERY")
