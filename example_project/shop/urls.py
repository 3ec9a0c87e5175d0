from django.urls import path

from example_project.shop import views

app_name = "shop"
urlpatterns = [
    path("", views.product_list, name="products"),
    path("products/<slug:slug>/", views.product_page, name="product"),
    path("products/<slug:slug>/order/", views.place_order, name="order"),
]
