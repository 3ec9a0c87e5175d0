"""Django's field classes, to inherit from. Only the type checker can subscript them."""

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    CharField = models.CharField[Any, Any]
    DateTimeField = models.DateTimeField[Any, Any]
    FloatField = models.FloatField[Any, Any]
    IntegerField = models.IntegerField[Any, Any]
    TextField = models.TextField[Any, Any]
else:
    CharField = models.CharField
    DateTimeField = models.DateTimeField
    FloatField = models.FloatField
    IntegerField = models.IntegerField
    TextField = models.TextField
