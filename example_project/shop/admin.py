from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from example_project.shop.models import (
    AuditEntry,
    Order,
    PageView,
    Product,
    ProductViews,
    ReceivedChange,
    WebhookRequest,
)

# ModelAdmin is generic only for the type checker. Django's class takes no parameter.
if TYPE_CHECKING:
    AuditEntryModelAdmin = admin.ModelAdmin[AuditEntry]
    OrderModelAdmin = admin.ModelAdmin[Order]
    PageViewModelAdmin = admin.ModelAdmin[PageView]
    ProductModelAdmin = admin.ModelAdmin[Product]
    ProductViewsModelAdmin = admin.ModelAdmin[ProductViews]
    ReceivedChangeModelAdmin = admin.ModelAdmin[ReceivedChange]
    WebhookRequestModelAdmin = admin.ModelAdmin[WebhookRequest]
else:
    AuditEntryModelAdmin = OrderModelAdmin = admin.ModelAdmin
    PageViewModelAdmin = ProductModelAdmin = ProductViewsModelAdmin = admin.ModelAdmin
    ReceivedChangeModelAdmin = WebhookRequestModelAdmin = admin.ModelAdmin


class ReadOnly:
    """For rows that a drain writes, or the endpoint of the webhooks."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Product)
class ProductAdmin(ProductModelAdmin):
    list_display = ["name", "price"]
    prepopulated_fields = {"slug": ["name"]}
    search_fields = ["name"]


@admin.register(Order)
class OrderAdmin(OrderModelAdmin):
    list_display = ["__str__", "status", "total", "created"]
    list_editable = ["status"]
    list_filter = ["status", "product"]
    list_select_related = ["product"]
    date_hierarchy = "created"


@admin.register(PageView)
class PageViewAdmin(ReadOnly, PageViewModelAdmin):
    list_display = ["at", "method", "path", "status_code", "duration_ms"]
    list_display_links = None
    list_filter = ["method", "status_code"]
    search_fields = ["path", "user_agent"]
    date_hierarchy = "at"


@admin.register(ProductViews)
class ProductViewsAdmin(ReadOnly, ProductViewsModelAdmin):
    list_display = ["day", "product", "views"]
    list_display_links = None
    list_filter = ["product"]
    list_select_related = ["product"]
    date_hierarchy = "day"


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly, AuditEntryModelAdmin):
    list_display = ["at", "type", "subject", "status", "actor"]
    list_filter = ["type"]
    search_fields = ["subject"]
    date_hierarchy = "at"

    def status(self, entry: AuditEntry) -> str:
        return str(entry.data["status"])


@admin.register(WebhookRequest)
class WebhookRequestAdmin(ReadOnly, WebhookRequestModelAdmin):
    list_display = ["at", "status_code", "changes", "webhook_id"]
    list_display_links = None
    list_filter = ["status_code"]
    search_fields = ["webhook_id"]
    date_hierarchy = "at"


@admin.register(ReceivedChange)
class ReceivedChangeAdmin(ReadOnly, ReceivedChangeModelAdmin):
    list_display = ["at", "type", "subject", "status"]
    list_filter = ["type"]
    search_fields = ["subject"]
    date_hierarchy = "at"

    def status(self, change: ReceivedChange) -> str:
        return str(change.data["status"])
