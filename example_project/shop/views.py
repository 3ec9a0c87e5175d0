from decimal import Decimal

from django import forms
from django.contrib import messages
from django.db import transaction
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from example_project.shop.buckets import product_views
from example_project.shop.models import Order, Product


class OrderForm(forms.Form):
    quantity = forms.IntegerField(min_value=1, max_value=99, initial=1)


class PaymentForm(forms.Form):
    card = forms.CharField(
        max_length=25, initial="4242 4242 4242 4242", help_text="A card ending in 0002 is declined."
    )


class CardDeclined(Exception):
    pass


def product_list(request: HttpRequest) -> HttpResponse:
    return render(request, "shop/product_list.html", {"products": Product.objects.all()})


def product_page(request: HttpRequest, slug: str) -> HttpResponse:
    product = get_object_or_404(Product, slug=slug)
    response = _render_product(request, product, OrderForm())
    product_views.append({"product": product.pk, "day": timezone.localdate()})
    return response


def order_page(request: HttpRequest, pk: int) -> HttpResponse:
    return _render_order(request, pk, PaymentForm())


@require_POST
def place_order(request: HttpRequest, slug: str) -> HttpResponse:
    product = get_object_or_404(Product, slug=slug)
    form = OrderForm(request.POST)
    if not form.is_valid():
        return _render_product(request, product, form)
    quantity = form.cleaned_data["quantity"]
    order = product.orders.create(quantity=quantity, total=quantity * product.price)
    messages.success(request, f"Order {order.pk}: {order}, {order.total} € in all. Thank you.")
    return redirect(order)


@require_POST
def pay_order(request: HttpRequest, pk: int) -> HttpResponse:
    form = PaymentForm(request.POST)
    if not form.is_valid():
        return _render_order(request, pk, form)
    try:
        with transaction.atomic():
            order = _locked(pk, Order.Status.NEW)
            order.status = Order.Status.PAID
            order.save(update_fields=["status"])
            # Charge last: the order can be rolled back, but a charged card cannot.
            _charge(form.cleaned_data["card"], order.total)
    except CardDeclined:
        form.add_error("card", "This card was declined. The order is not paid.")
        return _render_order(request, pk, form, status=402)
    messages.success(request, f"Order {pk} is paid.")
    return redirect(order)


@require_POST
@transaction.atomic
def ship_order(request: HttpRequest, pk: int) -> HttpResponse:
    order = _locked(pk, Order.Status.PAID)
    order.status = Order.Status.SHIPPED
    order.save(update_fields=["status"])
    messages.success(request, f"Order {pk} is on its way.")
    return redirect(order)


@require_POST
@transaction.atomic
def withdraw_order(request: HttpRequest, pk: int) -> HttpResponse:
    order = _locked(pk, Order.Status.NEW)
    order.delete()
    messages.success(request, f"Order {pk} is withdrawn.")
    return redirect(order.product)


def _charge(card: str, amount: Decimal) -> None:
    """Stands for the payment service."""
    if card.endswith("0002"):
        raise CardDeclined


def _locked(pk: int, status: Order.Status) -> Order:
    """The order, locked until the transaction ends."""
    return get_object_or_404(Order.objects.select_for_update(), pk=pk, status=status)


def _render_product(request: HttpRequest, product: Product, form: OrderForm) -> HttpResponse:
    views = product.daily_views.aggregate(total=Sum("views"))["total"]
    context = {"product": product, "views": views, "form": form}
    return render(request, "shop/product_page.html", context)


def _render_order(
    request: HttpRequest, pk: int, form: PaymentForm, *, status: int = 200
) -> HttpResponse:
    order = get_object_or_404(Order.objects.select_related("product"), pk=pk)
    context = {"order": order, "form": form}
    return render(request, "shop/order_page.html", context, status=status)
