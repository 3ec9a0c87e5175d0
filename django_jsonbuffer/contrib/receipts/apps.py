from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ReceiptsConfig(AppConfig):
    name = "django_jsonbuffer.contrib.receipts"
    label = "jsonbuffer_receipts"
    verbose_name = _("JSON buffer: receipts")
    default_auto_field = "django.db.models.BigAutoField"
