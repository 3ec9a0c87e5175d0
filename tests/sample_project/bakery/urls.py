from django.contrib import admin
from django.urls import path

from orders import views as orders
from visits import views as visits

urlpatterns = [
    path("admin/", admin.site.urls),
    path("orders/", orders.place_order),
    path("orders/<int:pk>/cancel/", orders.cancel_order),
    path("payments/", orders.receive_payments),
    path("stock/", orders.receive_stock),
    path("products/<slug:sku>/", visits.product_page),
    path("search/", visits.search),
]
