from io import StringIO

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from django_jsonbuffer.models import Bucket as BucketModel

pytestmark = pytest.mark.django_db(transaction=True)


class TestModel:
    def test_gets_no_table_even_with_run_syncdb(self) -> None:
        # The test database was created with run_syncdb.
        assert BucketModel._meta.db_table not in connection.introspection.table_names()

    def test_wants_no_migration(self) -> None:
        call_command("makemigrations", check=True, dry_run=True, verbosity=0)

    def test_has_a_permission_for_each_kind_of_thing_to_do(self) -> None:
        permissions = Permission.objects.filter(content_type__app_label="django_jsonbuffer")
        assert {permission.codename for permission in permissions} == {
            *("view_bucket", "view_events", "drain_bucket", "change_bucket", "delete_events")
        }

    @pytest.mark.parametrize("use_base_manager", [False, True])
    def test_dumps_as_nothing(self, use_base_manager: bool) -> None:
        dump = StringIO()
        call_command(
            "dumpdata", "django_jsonbuffer", use_base_manager=use_base_manager, stdout=dump
        )
        assert dump.getvalue().strip() == "[]"

    def test_finds_nothing_and_asks_no_database(
        self, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(0):
            assert not BucketModel.objects.exists()
            assert list(BucketModel._base_manager.all()) == []

    @pytest.mark.django_db(transaction=True)
    def test_is_in_the_way_of_no_flush(self) -> None:
        call_command("flush", interactive=False, verbosity=0)
