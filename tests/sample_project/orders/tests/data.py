"""What the tests need in the database."""

from orders.models import Customer, Order, Product


def new_product(**values):
    return Product.objects.create(
        **{"sku": "rye", "name": "Rye bread", "price": "3.50", "stock": 10} | values
    )


def new_order(**values):
    product = Product.objects.first() or new_product()
    customer, _ = Customer.objects.get_or_create(email="ada@example.com")
    return Order.objects.create(
        **{"customer": customer, "product": product, "quantity": 2, "total": "7.00"} | values
    )
