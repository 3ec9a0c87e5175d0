from typing import TYPE_CHECKING

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest

from example_project.shop.models import AuditEntry, Order, PageView, Product

# ModelAdmin is generic only for the type checker. Django's class takes no parameter.
if TYPE_CHECKING:
    AuditEntryModelAdmin = admin.ModelAdmin[AuditEntry]
    OrderModelAdmin = admin.ModelAdmin[Order]
    PageViewModelAdmin = admin.ModelAdmin[PageView]
    ProductModelAdmin = admin.ModelAdmin[Product]
else:
    AuditEntryModelAdmin = OrderModelAdmin = admin.ModelAdmin
    PageViewModelAdmin = ProductModelAdmin = admin.ModelAdmin


class WrittenByDrain:
    """Read-only in the admin: a drain writes these rows."""

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
class PageViewAdmin(WrittenByDrain, PageViewModelAdmin):
    list_display = ["at", "method", "path", "status_code", "duration_ms"]
    list_display_links = None
    list_filter = ["method", "status_code"]
    search_fields = ["path", "user_agent"]
    date_hierarchy = "at"


@admin.register(AuditEntry)
class AuditEntryAdmin(WrittenByDrain, AuditEntryModelAdmin):
    list_display = ["at", "type", "subject", "status", "actor"]
    list_filter = ["type"]
    search_fields = ["subject"]
    date_hierarchy = "at"

    def status(self, entry: AuditEntry) -> str:
        return str(entry.data["status"])
