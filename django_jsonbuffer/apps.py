from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class JSONBufferConfig(AppConfig):
    name = "django_jsonbuffer"
    verbose_name = "JSON buffer"

    def ready(self) -> None:
        from . import checks, receivers  # noqa: F401  (the checks register themselves)

        autodiscover_modules("buckets")
        receivers.record_waiting()
