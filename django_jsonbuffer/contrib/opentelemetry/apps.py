from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from django_jsonbuffer import tracing


class OpenTelemetryConfig(AppConfig):
    name = "django_jsonbuffer.contrib.opentelemetry"
    label = "jsonbuffer_opentelemetry"
    verbose_name = _("JSON buffer: OpenTelemetry")

    def ready(self) -> None:
        try:
            from .spans import Spans
        except ImportError as error:
            raise ImproperlyConfigured(
                f"{self.name} needs opentelemetry-api, which cannot be imported: {error}. "
                "Run: pip install 'django-jsonbuffer[opentelemetry]'"
            ) from error
        tracing.tracer = Spans()
