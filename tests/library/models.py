"""Models of every kind that can be recorded."""

import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.models.functions import Upper

from django_jsonbuffer.querysets import RecordingQuerySetMixin

if TYPE_CHECKING:
    Text = models.CharField[Any, Any]
    Number = models.IntegerField[Any, Any]
else:
    Text = models.CharField
    Number = models.IntegerField


class Author(models.Model):
    name = models.CharField(max_length=100)
    born = models.DateField(null=True)
    friends = models.ManyToManyField("self")
    translators = models.ManyToManyField("self", symmetrical=False, related_name="translated")

    class Meta:
        ordering = ("pk",)


class Tag(models.Model):
    name = models.CharField(max_length=100)


class Status(models.TextChoices):
    DRAFT = "draft"
    PUBLISHED = "published"


class Grade(models.IntegerChoices):
    LOW = 1
    HIGH = 2


class Book(models.Model):
    """A field of each kind."""

    title = models.CharField(max_length=100, default="")
    status = models.CharField(max_length=10, choices=Status, default=Status.DRAFT)
    grade = models.IntegerField(choices=Grade, default=Grade.LOW)
    pages = models.IntegerField(default=0)
    price = models.DecimalField(max_digits=10, decimal_places=2, default=0)
    rating = models.FloatField(null=True)
    printed = models.DateField(null=True)
    sold_at = models.DateTimeField(null=True)
    opens = models.TimeField(null=True)
    reading_time = models.DurationField(null=True)
    isbn = models.UUIDField(null=True)
    extras = models.JSONField(default=dict)
    cover = models.FileField(blank=True)
    thumbnail = models.BinaryField(default=b"")
    is_lent = models.BooleanField(default=False)
    shelf = models.CharField(max_length=10, db_default="A1")
    loud_title = models.GeneratedField(
        expression=Upper("title"), output_field=models.CharField(max_length=100), db_persist=True
    )
    author = models.ForeignKey(Author, models.CASCADE, null=True, related_name="books")
    sequel_of = models.ForeignKey("self", models.CASCADE, null=True)
    tags = models.ManyToManyField(Tag, related_name="books")
    shops: "models.ManyToManyField[Shop, Offer]" = models.ManyToManyField("Shop", through="Offer")


class Bestseller(Book):
    """A proxy."""

    class Meta:
        proxy = True


class Comic(Book):
    """A child, with a table of its own."""

    drawer = models.CharField(max_length=100, default="")


class Manga(Comic):
    """A grandchild."""

    volume = models.IntegerField(default=1)


class ShortComic(Comic):
    """A proxy of a child."""

    class Meta:
        proxy = True


class AudioBestseller(Bestseller):
    """A child of a proxy."""

    speaker = models.CharField(max_length=100, default="")


class Shop(models.Model):
    name = models.CharField(max_length=100)


class Offer(models.Model):
    book = models.ForeignKey(Book, models.CASCADE)
    shop = models.ForeignKey(Shop, models.CASCADE)
    is_new = models.BooleanField(default=True)


class Copy(models.Model):
    """With a composite primary key."""

    pk = models.CompositePrimaryKey("book_id", "number")
    book = models.ForeignKey(Book, models.CASCADE)
    number = models.IntegerField()
    is_torn = models.BooleanField(default=False)


class Reader(models.Model):
    """With a default for its primary key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100, default="")
    password = models.CharField(max_length=100, default="")
    favourites = models.ManyToManyField(Tag, related_name="fans")


class Ticket(models.Model):
    """Whose primary key is the database's to choose."""

    code = models.CharField(max_length=10, primary_key=True, db_default="T-1")
    changes = models.IntegerField(default=0)


class LowerCase(Text):
    """Prepares its values."""

    def get_prep_value(self, value: Any) -> Any:
        return value.lower() if value else value


class Stamp(Number):
    """Stores a value that it does not set on the instance."""

    def pre_save(self, model_instance: models.Model, add: bool) -> int:
        return 7


class Euros(Number):
    """Converts on reading."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else f"{value} €"


class Title(Text):
    """Changes nothing of what is stored."""

    def formfield(self, **kwargs: Any) -> Any:
        return super().formfield(**{"label": "Title", **kwargs})


class Membership(models.Model):
    """Points to a unique field, and is pointed to by one."""

    number = models.CharField(max_length=20, unique=True)
    card = models.CharField(max_length=20, default="")
    level = models.CharField(max_length=10, choices=Status, default=Status.DRAFT)
    reader = models.ForeignKey(Reader, models.CASCADE, null=True)
    seen_at = models.DateTimeField(auto_now=True)
    clubs: "models.ManyToManyField[Club, Attendance]" = models.ManyToManyField(
        "Club", through="Attendance", related_name="members"
    )


class Club(models.Model):
    name = models.CharField(max_length=20, unique=True)
    guests: "models.ManyToManyField[Membership, Attendance]" = models.ManyToManyField(
        Membership, through="Attendance", related_name="visited"
    )


class Attendance(models.Model):
    membership = models.ForeignKey(Membership, models.CASCADE, to_field="number")
    club = models.ForeignKey(Club, models.CASCADE, to_field="name")


class Odd(models.Model):
    """With fields of the project, which change values on their way."""

    name = LowerCase(max_length=20, default="")
    price = Euros(default=1)


class Stamped(models.Model):
    """Has a field whose value only the database knows."""

    name = models.CharField(max_length=20, default="")
    stamp = Stamp(default=0)


class Titled(models.Model):
    name = Title(max_length=20, default="")


class Imported(models.Model):
    """Whose table Django has not made, as far as it knows."""

    name = models.CharField(max_length=20, default="")

    class Meta:
        managed = False


class Code(models.Model):
    """With a key that the database returns in another form than it was given."""

    id = LowerCase(max_length=20, primary_key=True)
    name = models.CharField(max_length=20, default="")


class Record(models.Model):
    """Abstract."""

    title = models.CharField(max_length=100)

    class Meta:
        abstract = True


class LoanQuerySet(RecordingQuerySetMixin["Loan"], models.QuerySet["Loan"]):
    pass


class Loan(models.Model):
    """Whose bulk operations are recorded."""

    number = models.IntegerField(unique=True)
    days = models.IntegerField(default=14)
    fee = models.DecimalField(max_digits=6, decimal_places=2, default=0)
    twice = models.GeneratedField(
        expression=models.F("days") * 2, output_field=models.IntegerField(), db_persist=True
    )
    reader = models.ForeignKey(Reader, models.CASCADE, null=True, related_name="loans")

    objects: ClassVar[models.Manager["Loan"]] = models.Manager.from_queryset(LoanQuerySet)()

    class Meta:
        ordering = ("-number",)


class LongLoan(Loan):
    """A proxy."""

    class Meta:
        proxy = True


class FineQuerySet(RecordingQuerySetMixin["Fine"], models.QuerySet["Fine"]):
    pass


class Fine(models.Model):
    """With a composite primary key, and its bulk operations recorded."""

    pk = models.CompositePrimaryKey("loan_id", "day")
    loan = models.ForeignKey(Loan, models.CASCADE, related_name="fines")
    day = models.IntegerField()
    cents = models.IntegerField(default=50)

    objects: ClassVar[models.Manager["Fine"]] = models.Manager.from_queryset(FineQuerySet)()


class RentalQuerySet(RecordingQuerySetMixin["Rental"], models.QuerySet["Rental"]):
    pass


class Rental(Loan):
    """A child whose update() concerns two tables."""

    car = models.CharField(max_length=100, default="")

    objects: ClassVar[models.Manager["Rental"]] = models.Manager.from_queryset(RentalQuerySet)()  # type: ignore[assignment]
