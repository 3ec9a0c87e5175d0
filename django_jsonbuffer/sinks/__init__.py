"""Sinks: the common processors, ready to be declared."""

from .composing import ByType, Latest, Tee
from .database.increment import Increment
from .database.insert import Insert
from .database.upsert import Upsert
from .http.post import Post
from .storages.json_lines import JsonLines

__all__ = ["ByType", "Increment", "Insert", "JsonLines", "Latest", "Post", "Tee", "Upsert"]
