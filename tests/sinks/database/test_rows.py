import secrets

import pytest
from django.db import IntegrityError, OperationalError, connections, transaction

from django_jsonbuffer.sinks import Insert, Upsert
from django_jsonbuffer.sinks.database.rows import (
    ROW_ERRORS,
    check_references,
    is_deadlock,
    savepoint,
)
from tests.sinks.batches import processed
from tests.sinks.databases import ALIAS
from tests.sinks.models import Cell, PageView, Product, Stock

pytestmark = pytest.mark.usefixtures("database")

TRIGGERS = {
    "sqlite": """
        CREATE TRIGGER refuse BEFORE INSERT ON sinks_cell WHEN NEW.value = 13
        BEGIN SELECT RAISE(ABORT, 'no thirteen'); END
    """,
    "postgresql": """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.value = 13 THEN RAISE 'no thirteen'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER refuse BEFORE INSERT ON sinks_cell FOR EACH ROW EXECUTE FUNCTION refuse()
    """,
    "mariadb": """
        CREATE TRIGGER refuse BEFORE INSERT ON sinks_cell FOR EACH ROW
        IF NEW.value = 13 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no thirteen'; END IF
    """,
}


def drop_trigger(database: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        if database == "postgresql":
            cursor.execute("DROP FUNCTION refuse() CASCADE")
        else:
            cursor.execute("DROP TRIGGER refuse")


def test_row_that_a_trigger_refuses_is_rejected(database: str) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(TRIGGERS[database])
    try:
        events = [{"x": n, "y": "a", "value": n} for n in range(10, 16)]
        found = processed(Insert(Cell, using=ALIAS), *events)
    finally:
        drop_trigger(database)
    assert [*found] == [3]
    assert "no thirteen" in found[3]


def test_savepoint_checks_deferred_constraints(database: str) -> None:
    with transaction.atomic(using=ALIAS):
        rows = [PageView(path="a", product_id=10**9)]
        with pytest.raises(IntegrityError), savepoint(connections[ALIAS]):
            PageView.objects.using(ALIAS).bulk_create(rows)
            check_references(rows, connections[ALIAS])
        assert PageView.objects.using(ALIAS).count() == 0


def test_reference_error_names_field_and_model(database: str) -> None:
    if database == "sqlite":
        with pytest.raises(IntegrityError, match=r"'product': there is no sinks\.Product with id"):
            check_references([PageView(product_id=10**9)], connections[ALIAS])
    check_references([], connections[ALIAS])


def test_references_of_many_rows() -> None:
    products = [Product(name=f"{n}") for n in range(1200)]
    Product.objects.using(ALIAS).bulk_create(products)
    pks = Product.objects.using(ALIAS).values_list("pk", flat=True)
    events = [{"path": "a", "product": pk} for pk in pks]
    assert processed(Insert(PageView, using=ALIAS), *events) == {}


@pytest.mark.parametrize(
    "error", [OperationalError("server closed"), OperationalError(2006, "gone")]
)
def test_other_errors_stay_as_they_are(error: OperationalError) -> None:
    with pytest.raises(OperationalError) as raised, savepoint(connections[ALIAS]):
        raise error
    assert raised.value is error
    assert not isinstance(raised.value, ROW_ERRORS)


def test_keys_that_only_the_database_takes_for_one(database: str) -> None:
    """PostgreSQL refuses to change a row twice in a statement, so the events are halved."""
    if database == "postgresql":
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("ALTER TABLE sinks_cell ALTER y TYPE citext")
    sink = Upsert(Cell, unique_fields=["pk"], using=ALIAS)
    try:
        assert processed(sink, *({"x": 1, "y": y, "value": 1} for y in "aAbBc")) == {}
        assert Cell.objects.using(ALIAS).count() == (5 if database == "sqlite" else 3)
    finally:
        if database == "postgresql":
            with connections[ALIAS].cursor() as cursor:
                cursor.execute("ALTER TABLE sinks_cell ALTER y TYPE varchar(20)")


def test_value_that_is_too_large_for_an_index(database: str) -> None:
    product = Product.objects.using(ALIAS).create()
    events = [
        {"sku": f"{n}", "product": product.pk, "rest": {}, "note": secrets.token_hex(5 * 10**n)}
        for n in range(4)
    ]
    if database == "postgresql":
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("CREATE INDEX too_small ON sinks_stock (note)")
        try:
            found = processed(Insert(Stock, using=ALIAS), *events)
        finally:
            with connections[ALIAS].cursor() as cursor:
                cursor.execute("DROP INDEX too_small")
        assert [*found] == [3]
        assert "index row" in found[3]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationalError(1213, "Deadlock found"), True),
        (OperationalError(1205, "Lock wait timeout"), False),
        (OperationalError("server closed the connection"), False),
        (OperationalError(), False),
    ],
)
def test_deadlock_is_told_from_other_errors(error: OperationalError, expected: bool) -> None:
    assert is_deadlock(error) == expected
