import json

from django.db import transaction
from django.db.models import F
from django.http import JsonResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_POST
from django_jsonbuffer.exceptions import BucketFull, InvalidEvent

from .buckets import confirmations, payments, stock
from .models import Customer, Order, Product


class SoldOut(Exception):
    pass


@require_POST
def place_order(request):
    try:
        with transaction.atomic():
            order = _new_order(**request.POST.dict())
    except SoldOut:
        return JsonResponse({"error": "sold out"}, status=409)
    return JsonResponse({"order": order.pk}, status=201)


def _new_order(email, sku, quantity=1):
    customer, _ = Customer.objects.get_or_create(email=email)
    product = get_object_or_404(Product, sku=sku)
    order = Order.objects.create(
        customer=customer,
        product=product,
        quantity=int(quantity),
        total=int(quantity) * product.price,
    )
    confirmations.append({"email": email, "product": product.name, "total": order.total})
    if not Product.objects.filter(pk=product.pk, stock__gte=quantity).update(
        stock=F("stock") - quantity
    ):
        raise SoldOut
    return order


@require_POST
def cancel_order(request, pk):
    order = get_object_or_404(Order, pk=pk)
    order.status = "cancelled"
    order.save()
    return JsonResponse({})


@require_POST
def receive_payments(request):
    """The bank sends each payment at least once."""
    payments.append(json.loads(request.body))
    return JsonResponse({}, status=202)


@require_POST
def receive_stock(request):
    try:
        stock.extend(json.loads(request.body))
    except BucketFull:
        return JsonResponse({"error": "try again later"}, status=503)
    except InvalidEvent as error:
        return JsonResponse({"error": str(error)}, status=400)
    return JsonResponse({}, status=202)
