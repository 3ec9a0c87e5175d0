from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Receipt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("bucket", models.CharField(max_length=100, verbose_name="bucket")),
                ("origin", models.CharField(max_length=60, verbose_name="origin")),
                (
                    "places",
                    models.TextField(
                        help_text="Places of the events in the open batch, from 0: 0-999,1002",
                        verbose_name="places",
                    ),
                ),
                ("at", models.DateTimeField(db_index=True, verbose_name="at")),
            ],
            options={
                "verbose_name": "receipt",
                "verbose_name_plural": "receipts",
                "constraints": [
                    models.UniqueConstraint(fields=("bucket", "origin"), name="jsonbuffer_once")
                ],
            },
        ),
    ]
