from collections.abc import Callable
from decimal import Decimal

import pytest
from oscar.core.loading import get_class, get_model
from oscar.test.factories import (
    CategoryFactory,
    ShippingAddressFactory,
    UserAddressFactory,
    UserFactory,
    create_basket,
    create_order,
    create_product,
)

from django_jsonbuffer import Bucket
from tests.packages.ledger import Ledger, stored
from tests.recorded import recorded

pytestmark = pytest.mark.django_db(transaction=True)

Basket = get_model("basket", "Basket")
BasketLine = get_model("basket", "Line")
Category = get_model("catalogue", "Category")
EventHandler = get_class("order.processing", "EventHandler")
Order = get_model("order", "Order")
OrderLine = get_model("order", "Line")
Product = get_model("catalogue", "Product")
StockRecord = get_model("partner", "StockRecord")
UserAddress = get_model("address", "UserAddress")


class TestStockRecord:
    """Oscar updates the row by a queryset and sends the signals of a save itself."""

    def test_allocations(self, record: Callable[..., Ledger]) -> None:
        product = create_product(price=Decimal("9.5"), num_in_stock=10)
        ledger = record(StockRecord, exclude=("date_updated",))
        stock = product.stockrecords.get()
        stock.allocate(4)
        assert ledger.told() == ["stockrecord.updated"]
        stock.cancel_allocation(1)
        stock.consume_allocation(2)
        assert ledger.told() == ["stockrecord.updated"] * 2
        stock.save()
        assert ledger.told() == []
        assert (stock.num_allocated, stock.num_in_stock) == (1, 8)

    def test_stale_instance(self, record: Callable[..., Ledger]) -> None:
        """The instance holds a price that was set and never saved."""
        product = create_product(price=Decimal("9.5"), num_in_stock=10)
        ledger = record(StockRecord)
        stock = product.stockrecords.get()
        stock.price = 7
        stock.allocate(4)
        assert ledger.told() == ["stockrecord.updated"]

    def test_without_changes(self) -> None:
        product = create_product(price=Decimal("9.5"), num_in_stock=10)
        bucket = Bucket("stock")
        bucket.record(StockRecord)
        product.stockrecords.get().allocate(4)
        [event] = recorded(bucket)
        assert event["type"] == "partner.stockrecord.updated"
        assert [event["data"]] == [*stored(StockRecord).values()]


class TestOrder:
    def test_is_placed(self, record: Callable[..., Ledger]) -> None:
        basket = create_basket()
        ledger = record(Basket, BasketLine, Order, OrderLine, StockRecord)
        create_order(basket=basket, user=UserFactory(), shipping_address=ShippingAddressFactory())
        told = ledger.told()
        assert {"order.created", "line.created", "stockrecord.updated"} <= {*told}
        assert Order.objects.get().lines.count() == 1

    def test_goes_on(self, record: Callable[..., Ledger]) -> None:
        order = create_order()
        ledger = record(Order, StockRecord)
        EventHandler().consume_stock_allocations(order)
        assert ledger.told() == ["stockrecord.updated"]
        order.status = "shipped"
        order.save()
        order.save()
        assert ledger.told() == ["order.updated"]
        order.delete()
        assert ledger.told() == ["order.deleted"]

    def test_cannot_be_placed(self, record: Callable[..., Ledger]) -> None:
        create_order(number="1")
        ledger = record(Basket, Order, StockRecord)
        basket = create_basket()
        ledger.told()
        with pytest.raises(ValueError, match="There is already an order"):
            create_order(number="1", basket=basket)
        assert ledger.told() == []


def test_address(record: Callable[..., Ledger]) -> None:
    """It has a field for phone numbers."""
    ledger = record(UserAddress)
    address = UserAddressFactory(phone_number="+46 8 123 456 78", postcode="n12 9re")
    address.save()
    UserAddress.objects.defer("phone_number").get().save()
    assert ledger.told() == ["useraddress.created"]
    address.phone_number = ""
    address.save()
    address.delete()
    assert ledger.told() == ["useraddress.updated", "useraddress.deleted"]


class TestBasket:
    def test_lines(self, record: Callable[..., Ledger]) -> None:
        ledger = record(Basket, BasketLine)
        basket = create_basket()
        basket.add_product(Product.objects.get(), quantity=1)
        basket.freeze()
        basket.thaw()
        assert ledger.told() == [
            *("basket.created", "line.created", "line.updated", "basket.updated", "basket.updated")
        ]
        basket.flush()
        assert ledger.told() == ["line.deleted"]

    def test_merge(self, record: Callable[..., Ledger]) -> None:
        ledger = record(Basket, BasketLine)
        into, other = create_basket(empty=True), create_basket()
        into.merge(other, add_quantities=False)
        assert sorted(ledger.told()) == [
            *("basket.created", "basket.created", "basket.updated", "line.created", "line.updated")
        ]


class TestCatalogue:
    def test_product(self, record: Callable[..., Ledger]) -> None:
        """The column `upc` has NULL for an empty text. Oscar saves the attributes in bulk."""
        ledger = record(Product, exclude=("date_updated",))
        product = create_product(attributes={"colour": "red"}, upc="")
        product.attr.colour = "blue"
        product.save()
        Product.objects.defer("title").get().save()
        assert ledger.told() == ["product.created"]
        product.upc = "978"
        product.save()
        product.upc = None
        product.save(update_fields=["upc"])
        product.delete()
        assert ledger.told() == ["product.updated", "product.updated", "product.deleted"]

    def test_tree_of_categories(self, record: Callable[..., Ledger]) -> None:
        """The tree is kept by raw SQL, so only the columns of the category itself are compared."""
        ledger = record(Category, exclude=("path", "depth", "numchild", "ancestors_are_public"))
        root = CategoryFactory(name="Books")
        child = root.add_child(name="Fiction")
        child.name = "Novels"
        child.save()
        child.save()
        assert ledger.told() == ["category.created", "category.created", "category.updated"]
