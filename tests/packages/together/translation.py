"""Found by django-modeltranslation."""

from modeltranslation.translator import TranslationOptions, register

from .models import News


@register(News)
class NewsTranslation(TranslationOptions):
    fields = ("title", "body", "picture", "author", "topics")
