from django.urls import path

from django_jsonbuffer.contrib.prometheus.views import metrics

urlpatterns = [path("metrics", metrics)]
