from decimal import Decimal

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

PRODUCTS = [
    ("Filing cabinet", "filing-cabinet", "189.00"),
    ("Fountain pen", "fountain-pen", "34.50"),
    ("Ledger, 200 pages", "ledger", "12.90"),
    ("Rubber stamp: RECEIVED", "rubber-stamp", "8.75"),
    ("Desk lamp", "desk-lamp", "59.00"),
    ("In-tray, stackable", "in-tray", "6.40"),
]


def add_products(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    products = apps.get_model("shop", "Product")._default_manager
    for name, slug, price in PRODUCTS:
        products.create(name=name, slug=slug, price=Decimal(price))


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]

    operations = [migrations.RunPython(add_products, migrations.RunPython.noop)]
