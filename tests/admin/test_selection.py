from typing import Any

import pytest
from django.core.exceptions import BadRequest
from django.http import QueryDict
from django.test import RequestFactory

from django_jsonbuffer.admin.selection import Selection


def selected(**form: Any) -> Selection:
    return Selection.of(RequestFactory().post("/", form))


class TestSelection:
    def test_of_single_letters(self) -> None:
        assert selected(letter=["2-1", "1-1"]) == Selection(ids=("2-1", "1-1"))
        assert selected(letter=["1-1"], newest="9-9") == Selection(ids=("1-1",))

    def test_of_all_is_up_to_the_newest(self) -> None:
        assert selected(all="1", newest="9-9") == Selection(up_to="9-9")
        assert selected(all="1", newest="9-9", letter=["1-1"]) == Selection(up_to="9-9")

    def test_of_a_group_is_up_to_the_newest(self) -> None:
        assert selected(group="KeyError", newest="9-9#2") == Selection(
            group="KeyError", up_to="9-9#2"
        )

    def test_of_the_group_without_a_name_is_not_that_of_all(self) -> None:
        """Its name is empty."""
        selection = selected(group="", newest="9-9")
        assert selection == Selection(group="", up_to="9-9")
        assert selection.group is not None

    def test_of_a_group_wins_over_that_of_all(self) -> None:
        """It is the smaller one."""
        assert selected(all="1", group="KeyError", newest="9-9").group == "KeyError"

    def test_of_a_batch(self) -> None:
        assert selected(batch="1-1") == Selection(batch="1-1")

    @pytest.mark.parametrize("form", [{"all": "1"}, {"group": "KeyError"}])
    @pytest.mark.parametrize("newest", ["", "x", "1-1 ", "99999999999999999999-1", "1-1#0"])
    def test_up_to_what_is_no_id_is_refused(self, form: dict[str, str], newest: str) -> None:
        with pytest.raises(BadRequest):
            selected(**form, newest=newest)

    def test_of_nothing_is_false(self) -> None:
        assert not selected()
        assert not selected(newest="9-9")
        assert not Selection(group="KeyError")
        for selection in (Selection(ids=("1-1",)), Selection(up_to="9-9"), Selection(batch="1-1")):
            assert selection

    @pytest.mark.parametrize(
        "selection",
        [
            Selection(ids=("2-1", "1-1")),
            Selection(up_to="9-9"),
            Selection(up_to="9-9", group="KeyError: 'a' & \"b\""),
            Selection(up_to="9-9", group=""),
        ],
    )
    def test_is_the_same_after_a_question(self, selection: Selection) -> None:
        """Which sends its fields again."""
        form = QueryDict(mutable=True)
        for name, value in selection.fields:
            form.appendlist(name, value)
        assert Selection.of(RequestFactory().post("/", dict(form.lists()))) == selection
