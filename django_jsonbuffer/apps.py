from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class JSONBufferConfig(AppConfig):
    name = "django_jsonbuffer"
    verbose_name = "JSON buffer"

    def ready(self) -> None:
        from . import checks  # noqa: F401  (the checks register themselves)
        from .recording import registry

        autodiscover_modules("buckets")
        registry.record_waiting()
