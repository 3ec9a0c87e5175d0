import django.contrib.postgres.fields
import django.contrib.postgres.fields.ranges
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("status", models.CharField(default="open", max_length=20)),
                ("total", models.DecimalField(decimal_places=2, default=0, max_digits=8)),
                ("weight", models.FloatField(default=0)),
                (
                    "sizes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.IntegerField(), default=list, size=None
                    ),
                ),
                ("delivery", django.contrib.postgres.fields.ranges.DateTimeRangeField(null=True)),
                ("floors", django.contrib.postgres.fields.ranges.IntegerRangeField(null=True)),
            ],
        ),
    ]
