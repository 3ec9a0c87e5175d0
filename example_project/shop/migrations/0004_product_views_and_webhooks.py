import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("shop", "0003_auditentry"),
    ]

    operations = [
        migrations.CreateModel(
            name="ReceivedChange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("event_id", models.CharField(max_length=36, unique=True)),
                ("type", models.CharField(max_length=50)),
                ("subject", models.CharField(db_index=True, max_length=20, verbose_name="order")),
                ("at", models.DateTimeField(db_index=True)),
                ("data", models.JSONField()),
            ],
            options={
                "ordering": ["-at"],
            },
        ),
        migrations.CreateModel(
            name="WebhookRequest",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("webhook_id", models.CharField(db_index=True, max_length=100)),
                ("at", models.DateTimeField(auto_now_add=True, db_index=True)),
                ("status_code", models.PositiveSmallIntegerField()),
                ("changes", models.PositiveIntegerField(verbose_name="number of changes")),
            ],
            options={
                "ordering": ["-at"],
            },
        ),
        migrations.CreateModel(
            name="ProductViews",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("day", models.DateField()),
                ("views", models.PositiveIntegerField(default=0)),
                (
                    "product",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="daily_views",
                        to="shop.product",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "product views",
                "ordering": ["-day", "product"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("product", "day"), name="one_row_per_product_and_day"
                    )
                ],
            },
        ),
    ]
