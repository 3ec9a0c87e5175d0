from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone

from orders.models import Product

from .buckets import searches
from .models import SearchTerm


def product_page(request, sku):
    product = get_object_or_404(Product, sku=sku)
    return HttpResponse(f"{product.name}: {product.price}")


async def search(request):
    """The products with this name, and what others have searched for."""
    term = request.GET.get("q", "").strip().lower()
    if term:
        await searches.aappend({"term": term, "at": timezone.now()})
    found = [each.name async for each in Product.objects.filter(name__icontains=term)]
    terms = [each.term async for each in SearchTerm.objects.order_by("term")]
    return JsonResponse({"found": found, "terms": terms})
