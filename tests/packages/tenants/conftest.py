from collections.abc import Iterator

import pytest
from django.db import connection

from example_project.postgres import PostgreSQL
from tests.packages.tenants.models import Domain, Tenant


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A PostgreSQL server of this process. pytest-django makes its test database there."""
    with PostgreSQL(tmp_path_factory.mktemp("tenants") / "postgres") as server:
        connection.settings_dict["HOST"] = str(server.folder)
        yield


@pytest.fixture
def tenants(transactional_db: None) -> Iterator[list[Tenant]]:
    """Two tenants, each with a schema of its own."""
    tenants = [Tenant(schema_name=name, name=name) for name in ("ann", "bea")]
    for tenant in tenants:
        tenant.save(verbosity=0)
        Domain.objects.create(tenant=tenant, domain=f"{tenant.name}.example")
    yield tenants
    connection.set_schema_to_public()
    for tenant in tenants:
        tenant.delete()
