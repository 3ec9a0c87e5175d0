from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PrometheusConfig(AppConfig):
    name = "django_jsonbuffer.contrib.prometheus"
    label = "jsonbuffer_prometheus"
    verbose_name = _("JSON buffer: Prometheus")

    def ready(self) -> None:
        from . import timings

        timings.connect()
