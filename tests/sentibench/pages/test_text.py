"""Texts that show all they hold."""

import unicodedata
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from sentibench.pages.environment import template_environment
from sentibench.pages.text import visible


def test_what_nobody_sees_becomes_a_sign() -> None:
    assert visible("plain näme 名前 👍\u00a0") == "plain näme 名前 👍\u00a0"
    assert visible("a\tb\nc\r\x0b\x0c\x85d") == "a b c    d"
    assert visible("a\nb\tc", lines=True) == "a\nb c"
    for character in "\0\x01\x1b\x7f\x9b\xad\u200b\u202e\u2066\u2028\u2029\ufeff\ud800\ufffe\uffff":
        assert visible(f"a{character}b") == "a\ufffdb"
        assert visible(f"a{character}b", lines=True) == "a\ufffdb"
    for number in range(0x110000):
        kind = unicodedata.category(chr(number))
        if kind in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            assert visible(chr(number)) in (" ", "\ufffd")


def test_templates_show_all_that_a_value_holds(tmp_path: Path) -> None:
    source = (
        "{% macro m(x) %}<b>{{ x }}</b>{% endmacro %}{{ m(x) }}|{{ x ~ '.' }}|{{ n }}|{{ none }}"
    )
    (tmp_path / "t").write_text(source, encoding="utf-8")
    (tmp_path / "u").write_text("{{ missing }}", encoding="utf-8")
    pages = template_environment(tmp_path)
    text = "<\x1b\u202e\n>"
    shown = "&lt;\ufffd\ufffd\n&gt;"
    assert pages.get_template("t").render(x=text, n=3) == f"<b>{shown}</b>|{shown}.|3|None"
    with pytest.raises(UndefinedError):
        pages.get_template("u").render()
    cards = template_environment(tmp_path, lambda value: str(value).upper())
    (tmp_path / "v").write_text("{{ x }}", encoding="utf-8")
    assert cards.get_template("v").render(x="a\u202eb") == "A\u202eB"
