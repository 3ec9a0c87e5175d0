from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class JSONBufferConfig(AppConfig):
    name = "django_jsonbuffer"
    verbose_name: "StrOrPromise" = _("JSON buffer")

    def ready(self) -> None:
        from . import checks  # noqa: F401  (the checks register themselves)
        from .recording import registry

        autodiscover_modules("buckets")
        registry.record_waiting()
