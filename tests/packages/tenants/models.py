"""Tables of the public schema."""

from django.db import models
from django_tenants.models import DomainMixin, TenantMixin


class Tenant(TenantMixin):
    name = models.CharField(max_length=100)

    auto_drop_schema = True


class Domain(DomainMixin):
    pass
