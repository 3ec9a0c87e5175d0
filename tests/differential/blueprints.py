"""Models, made by chance, so that each kind of field and of key occurs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

from tests.differential.customs import CUSTOMS
from tests.differential.keys import KEYS, Key
from tests.differential.kinds import Kind
from tests.differential.relations import RELATIONS
from tests.differential.scalars import SCALARS

KINDS: Final = [*SCALARS, *CUSTOMS, *RELATIONS]

LINKS: Final[Mapping[str, str]] = {
    "shelves": "Shelf",
    "countries": "Country",
    "tokens": "Token",
    "specials": "Special",
    "friends": "self",
    "follows": "self",
    "noted": "Shelf",
    "labelled": "Shelf",
}
"""Many-to-many fields, and their targets. The last two have models of their own in between."""


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    name: str
    kind: Kind
    options: Mapping[str, Any] = field(default_factory=dict)
    default: str = ""
    """Empty, ``default`` or ``db_default``."""

    generated: str = ""
    """Empty, ``stored`` or ``virtual``: a generated field beside this one."""


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """A model. A child or a proxy has the key of its root."""

    name: str
    key: Key
    fields: tuple[FieldSpec, ...] = ()
    """With those of the parents."""

    parent: str = ""
    is_proxy: bool = False
    has_links: bool = False
    is_ordered: bool = False
    """Whether it is ordered with respect to a foreign key."""

    records_bulk: bool = False

    @property
    def is_child(self) -> bool:
        return bool(self.parent) and not self.is_proxy


def blueprints(seed: int, vendor: str) -> list[Blueprint]:
    rng = Random(f"blueprints {seed}")
    kinds = _kinds(vendor)
    rng.shuffle(kinds)
    keys = [*KEYS]
    rng.shuffle(keys)
    made: list[Blueprint] = []
    while kinds:
        some, kinds = kinds[:4], kinds[4:]
        key = keys[len(made) % len(keys)]
        made.append(_model(rng, f"Model{len(made)}", key, some, vendor))
    families = [one for model in made[::4] for one in _family(rng, model, vendor)]
    return [*made, *families, *_linked(rng, vendor), _ordered(rng, vendor)]


def _kinds(vendor: str) -> list[Kind]:
    if vendor != "postgresql":
        return [*KINDS]
    from tests.differential.postgres_kinds import POSTGRESQL_KINDS  # needs psycopg

    return [*KINDS, *POSTGRESQL_KINDS]


def _model(rng: Random, name: str, key: Key, kinds: list[Kind], vendor: str) -> Blueprint:
    fields = tuple(_field(rng, f"f{n}", kind, vendor) for n, kind in enumerate(kinds))
    return Blueprint(name=name, key=key, fields=fields, records_bulk=rng.random() < 0.5)


def _field(rng: Random, name: str, kind: Kind, vendor: str) -> FieldSpec:
    options = dict(kind.options)
    if not kind.is_unset:
        options["null"] = rng.random() < 0.75
    if rng.random() < 0.3:
        options["db_column"] = f"{name} column" if rng.random() < 0.5 else f"{name}_x"
    allowed = [option for option in ("default", "db_default") if option in kind.base.split()]
    default = rng.choice(allowed) if allowed and rng.random() < 0.4 else ""
    generated = ""
    if "generated" in kind.base and rng.random() < 0.5:
        generated = rng.choice(["stored", "stored" if vendor == "postgresql" else "virtual"])
    return FieldSpec(name=name, kind=kind, options=options, default=default, generated=generated)


def _family(rng: Random, model: Blueprint, vendor: str) -> list[Blueprint]:
    """A proxy, a child and a proxy of the child."""
    if "composite" in model.key.name:
        return []
    kinds = rng.sample(_kinds(vendor), 2)
    own = tuple(_field(rng, f"g{n}", kind, vendor) for n, kind in enumerate(kinds))
    proxy = replace(model, name=f"{model.name}Proxy", parent=model.name, is_proxy=True)
    child = replace(
        model, name=f"{model.name}Child", parent=model.name, fields=(*model.fields, *own)
    )
    child_proxy = replace(child, name=f"{child.name}Proxy", parent=child.name, is_proxy=True)
    return [proxy, child, child_proxy]


def _linked(rng: Random, vendor: str) -> list[Blueprint]:
    """Models with many-to-many fields, one of them with a child and proxies."""
    keys = [key for key in KEYS if "composite" not in key.name]
    kinds = [kind for kind in SCALARS if kind.name in ("IntegerField", "CharField")]
    models = [
        replace(_model(rng, f"Linked{n}", key, kinds, vendor), has_links=True)
        for n, key in enumerate(rng.sample(keys, 5))
    ]
    return [*models, *_family(rng, models[0], vendor)]


def _ordered(rng: Random, vendor: str) -> Blueprint:
    kinds = [kind for kind in KINDS if kind.name in ("CharField", "ForeignKey(Shelf)")]
    fields = tuple(_field(rng, f"f{n}", kind, vendor) for n, kind in enumerate(kinds))
    return Blueprint(name="Ordered", key=KEYS[0], fields=fields, is_ordered=True)
