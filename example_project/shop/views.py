from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from example_project.shop.models import Product


class OrderForm(forms.Form):
    quantity = forms.IntegerField(min_value=1, max_value=99, initial=1)


def product_list(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/product_list.html", {"products": Product.objects.all()})


def product_page(request: HttpRequest, slug: str) -> HttpResponse:
    return _render_product(request, get_object_or_404(Product, slug=slug), OrderForm())


@require_POST
def place_order(request: HttpRequest, slug: str) -> HttpResponse:
    product = get_object_or_404(Product, slug=slug)
    form = OrderForm(request.POST)
    if not form.is_valid():
        return _render_product(request, product, form)
    quantity = form.cleaned_data["quantity"]
    order = product.orders.create(quantity=quantity, total=quantity * product.price)
    messages.success(request, f"Order {order.pk}: {order}, {order.total} € in all. Thank you.")
    return redirect(product)


def _render_product(request: HttpRequest, product: Product, form: OrderForm) -> HttpResponse:
    return render(request, "shop/product_page.html", {"product": product, "form": form})
