from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("shop", "0002_first_products")]

    operations = [
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("event_id", models.CharField(max_length=36, unique=True)),
                ("type", models.CharField(max_length=50)),
                (
                    "subject",
                    models.CharField(db_index=True, max_length=20, verbose_name="order"),
                ),
                ("actor", models.CharField(blank=True, max_length=20)),
                ("at", models.DateTimeField(db_index=True)),
                ("data", models.JSONField()),
            ],
            options={
                "verbose_name_plural": "audit entries",
                "ordering": ["-at"],
            },
        ),
    ]
