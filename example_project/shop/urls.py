from django.urls import path

from example_project.shop import views, webhook_endpoint

app_name = "shop"
urlpatterns = [
    path("", views.product_list, name="products"),
    path("products/<slug:slug>/", views.product_page, name="product"),
    path("products/<slug:slug>/order/", views.place_order, name="place_order"),
    path("orders/<int:pk>/", views.order_page, name="order"),
    path("orders/<int:pk>/pay/", views.pay_order, name="pay"),
    path("orders/<int:pk>/ship/", views.ship_order, name="ship"),
    path("orders/<int:pk>/withdraw/", views.withdraw_order, name="withdraw"),
    path("webhooks/", webhook_endpoint.receive, name="webhooks"),
]
