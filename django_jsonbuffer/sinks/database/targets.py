"""The model and the database that a sink writes to."""

from collections.abc import Iterator
from difflib import get_close_matches

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from django_jsonbuffer.django_internals.inserts import commits_by_itself
from django_jsonbuffer.django_internals.models import model_with_table, swapped_for
from django_jsonbuffer.exceptions import BufferMisconfigured
from django_jsonbuffer.suggestions import suggest

MODEL_OR_FIELD_UNKNOWN = "django_jsonbuffer.E014"
NO_UNIQUE_KEY = "django_jsonbuffer.E015"
OTHER_FAULT = "django_jsonbuffer.E016"


class Target:
    """A model, given as a class or as a label, and the alias of its database.

    The label is looked up at the first use, because a sink may be declared before the models are
    loaded.
    """

    def __init__(self, model: type[Model] | str, using: str | None) -> None:
        is_class = isinstance(model, type) and issubclass(model, Model)
        if not isinstance(model, str) and not (is_class and hasattr(model, "_meta")):
            raise BufferMisconfigured(
                f"A sink writes rows of a model, not {model!r:.60}. Give the class, or its label "
                "'app_label.ModelName'."
            )
        if not isinstance(model, str) and model._meta.abstract:
            raise BufferMisconfigured(
                f"{model._meta.label} is abstract, so it has no table. Give a model that inherits "
                "from it."
            )
        self._given = model
        self._using = using

    @property
    def label(self) -> str:
        return self._given if isinstance(self._given, str) else self._given._meta.label

    @property
    def model(self) -> type[Model]:
        """The model class. Raises :class:`BufferMisconfigured` if no app has this model."""
        if not isinstance(self._given, str):
            return self._given
        try:
            self._given = apps.get_model(self._given)
        except (LookupError, ValueError):
            raise BufferMisconfigured(f"{self._fault}{self._suggestion}") from None
        return self._given

    @property
    def alias(self) -> str:
        """`using`, or the database that the routers choose for writing."""
        return self._using or router.db_for_write(self.model)

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection of this thread."""
        return connections[self.alias]

    def aliases(self) -> Iterator[str]:
        """The alias, if it is known and correct."""
        if self._using is None and any(self.check()):
            return
        if self._using is None or self._using in settings.DATABASES:
            yield self.alias

    def check(self) -> Iterator[CheckMessage]:
        """Errors of the model and of the alias."""
        try:
            model = self.model
        except BufferMisconfigured:
            hint = f"Write it as 'app_label.ModelName'.{self._suggestion}"
            yield Error(self._fault, hint=hint, id=MODEL_OR_FIELD_UNKNOWN)
            return
        if (swapped := swapped_for(model)) is not None:
            yield Error(
                f"{self.label} is swapped out, so it has no table.",
                hint=f"Write {swapped!r} instead.",
                id=MODEL_OR_FIELD_UNKNOWN,
            )
        elif model_with_table(model)._meta.parents:
            yield Error(
                f"{self.label} has its columns in the tables of several models.",
                hint=(
                    "A sink writes one table. Use a model without multi-table inheritance, or a "
                    "processor of your own that calls save()."
                ),
                id=OTHER_FAULT,
            )
        yield from self._check_alias()

    def _check_alias(self) -> Iterator[CheckMessage]:
        if self._using is not None and self._using not in settings.DATABASES:
            known = suggest([self._using], settings.DATABASES)
            yield Error(
                f"using={self._using!r}, but DATABASES has no such alias.",
                hint=f"Write one of: {', '.join(settings.DATABASES)}.{known}",
                id=OTHER_FAULT,
            )
        elif not commits_by_itself(self.alias):
            yield Error(
                f"The database {self.alias!r} has AUTOCOMMIT off, so Django would not commit what "
                "the sink writes.",
                hint="Switch AUTOCOMMIT on, or use a processor of your own that commits.",
                id=OTHER_FAULT,
            )

    @property
    def _fault(self) -> str:
        return f"No installed app has a model {self._given!r}."

    @property
    def _suggestion(self) -> str:
        known = [model._meta.label for model in apps.get_models()]
        names = {label.rpartition(".")[2].lower(): label for label in known}
        name = self.label.rpartition(".")[2].lower()
        if found := get_close_matches(name, names, n=1):
            return f" Did you mean {names[found[0]]!r}?"
        return suggest([self.label], known)
