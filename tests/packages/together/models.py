"""A model for the typical use of each package."""

from typing import ClassVar

from django.contrib.auth.models import User
from django.db import models
from djmoney.models.fields import MoneyField
from djmoney.models.managers import money_manager
from model_utils import Choices, FieldTracker
from model_utils.fields import MonitorField, SplitField, UrlsafeTokenField
from model_utils.models import SoftDeletableModel, StatusModel, TimeStampedModel, UUIDModel
from polymorphic.models import PolymorphicModel
from simple_history.models import HistoricalRecords
from taggit.managers import TaggableManager

from django_jsonbuffer.querysets import RecordingQuerySetMixin


class Topic(models.Model):
    name = models.CharField(max_length=30)


class Article(models.Model):
    """django-taggit."""

    title = models.CharField(max_length=100)
    published = models.DateField(null=True)
    tags = TaggableManager()


class News(models.Model):
    """django-modeltranslation: see ``translation.py``."""

    title = models.CharField(max_length=100)
    body = models.TextField(null=True)  # noqa: DJ001
    picture = models.FileField(blank=True)
    author = models.ForeignKey(User, models.CASCADE, null=True)
    topics = models.ManyToManyField(Topic)
    views = models.IntegerField(default=0)


class Project(PolymorphicModel):
    """django-polymorphic."""

    topic = models.CharField(max_length=30)


class ArtProject(Project):
    artist = models.CharField(max_length=30)


class ResearchProject(Project):
    supervisor = models.CharField(max_length=30)
    budget = models.DecimalField(max_digits=8, decimal_places=2)


class Milestone(models.Model):
    project = models.ForeignKey(Project, models.CASCADE)
    due = models.DateField()


class Poll(models.Model):
    """django-simple-history."""

    question = models.CharField(max_length=200)
    attachment = models.FileField(blank=True)
    weight = models.FloatField(null=True)
    opened_at = models.DateTimeField()
    saved_at = models.DateTimeField(auto_now=True)
    author = models.ForeignKey(User, models.SET_NULL, null=True)
    topics = models.ManyToManyField(Topic)

    history = HistoricalRecords(m2m_fields=[topics])


class Account(models.Model):
    """django-money."""

    balance = MoneyField(max_digits=14, decimal_places=2, default=0, default_currency="EUR")
    limit = MoneyField(max_digits=14, decimal_places=4, null=True, default_currency=None)

    objects = money_manager(models.Manager())


class Post(UUIDModel, StatusModel, TimeStampedModel, SoftDeletableModel):
    """django-model-utils."""

    STATUS = Choices("draft", "published")

    title = models.CharField(max_length=100)
    published_at = MonitorField(monitor="status", when=["published"], null=True, default=None)

    tracker = FieldTracker()


class Essay(models.Model):
    """django-model-utils, too: it cannot track a SplitField."""

    body = SplitField(default="")
    token = UrlsafeTokenField()


class Book(models.Model):
    """django-import-export."""

    isbn = models.CharField(max_length=20, unique=True)
    title = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)
    published = models.DateField(null=True)
    added = models.DateTimeField(auto_now_add=True)
    is_lent = models.BooleanField(default=False)
    topics = models.ManyToManyField(Topic)


class VolumeQuerySet(RecordingQuerySetMixin["Volume"], models.QuerySet["Volume"]):
    pass


class Volume(models.Model):
    """django-import-export, with its bulk operations recorded."""

    number = models.IntegerField(unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2, null=True)

    objects: ClassVar[models.Manager["Volume"]] = models.Manager.from_queryset(VolumeQuerySet)()


class Task(models.Model):
    """Django REST framework."""

    title = models.CharField(max_length=100)
    due = models.DateTimeField(null=True)
    spent = models.DecimalField(max_digits=6, decimal_places=2, default=0)
    settings = models.JSONField(default=dict)
    owner = models.ForeignKey(User, models.CASCADE, null=True)
    topics = models.ManyToManyField(Topic, blank=True)


class Page(models.Model):
    """django-reversion."""

    title = models.CharField(max_length=100)
    views = models.IntegerField(default=0)
    digest = models.BinaryField(default=b"")
    edited = models.DateTimeField(null=True)
