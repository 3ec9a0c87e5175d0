import pytest
from django.test import override_settings

from django_jsonbuffer.admin.groups import find_group, key_of, title_of
from django_jsonbuffer.letter_groups import LetterGroup
from tests.prepared import bury

pytestmark = [pytest.mark.usefixtures("nothing_declared")]


class TestKey:
    def test_stands_for_a_group(self) -> None:
        bury(1, reason=ValueError("no total"))
        orders = bury(2, reason=KeyError("id"))
        groups = orders.dead.groups()
        assert len(groups) == 2
        assert [find_group(orders, key_of(group)) for group in groups] == groups

    def test_does_not_quote_the_name(self) -> None:
        """Only this site can say whether it stands for a name, because it is signed."""
        [group] = bury(1, reason="Ann").dead.groups()
        key = key_of(group)
        assert key.isalnum()
        assert "Ann" not in key
        with override_settings(SECRET_KEY="another"):
            assert key_of(group) != key

    def test_of_what_is_no_group_finds_none(self) -> None:
        orders = bury(1, reason="no good")
        [group] = orders.dead.groups()
        for key in ("", group.name, "x"):
            assert find_group(orders, key) is None


class TestTitle:
    def group(self, reason: str | BaseException) -> LetterGroup:
        groups: list[LetterGroup] = bury(1, reason=reason).dead.groups()
        return groups[0]

    def test_is_the_error(self) -> None:
        group = self.group(ValueError("no total"))
        assert title_of(group, with_messages=True) == "ValueError: no total"

    def test_without_messages_is_the_class_alone(self) -> None:
        group = self.group(ValueError("no total"))
        assert title_of(group, with_messages=False) == "ValueError"

    def test_without_messages_of_a_text_is_none(self) -> None:
        assert title_of(self.group("card of Ann"), with_messages=False) == "other errors"

    def test_shows_what_would_hide_or_turn_it(self) -> None:
        group = self.group("no\u202egood")
        assert title_of(group, with_messages=True) == "no\\u202egood"
