from django.db import models


class PageView(models.Model):
    path = models.TextField()
    at = models.DateTimeField()


class SearchTerm(models.Model):
    term = models.CharField(max_length=100, unique=True)
    last_searched = models.DateTimeField()
