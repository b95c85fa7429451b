"""What is taken out of texts, and what is left alone."""

import pytest
from whole_lists import draw_texts

from distill.config import CHANGES, Cleaning, Texts
from distill.texts.cleaning import clean
from distill.texts.sources import Draw, read_texts
from sentibench.errors import InputError

MASKS = ("mail", "phone", "handle")

# by hand: text, cleaned text, kinds of change
CASES = [
    ("Slow.<br /><br />Then great &amp; loud", "Slow. Then great & loud", "markup entities"),
    ("<p>One</p><P CLASS='x'>two</P>", "One two", "markup"),
    ('a <a href="https://x.y/z">link</a>, b<b>o</b>ld', "a link, bold", "markup"),
    ("a<!-- b -->c<script>d < e</script>f", "acf", "markup"),
    ("I <3 it, a <b and c> d, <lol> 1 < 2", None, ""),
    ("&lt;b&gt; &#128512; &#x41; it&nbsp;is", "<b> \U0001f600 A it is", "entities"),
    ("AT&T, R&D, &foo; &copy right", None, ""),
    ("see https://x.y/z?a=1. Or www.x.com/a, ok", "see . Or , ok", "links"),
    ("  spaces   of its own ", None, ""),
]

PERSONAL = [
    ("write to jo.e+x@a-b.co.uk.", "write to [mail].", "mail"),
    ("thanks @joe_1 and @user", "thanks @user and @user", "handle"),
    ("call +49 (0)30 1234-567, now", "call [phone], now", "phone"),
    ("call (555) 123 4567 or 555.123.4567.", "call [phone] or [phone].", "phone"),
    ("2024-01-02, 01/02/2024, 1,000,000, 3.14159265, 10 of 12, 2019", None, ""),
]


def kinds(text: str, settings: Cleaning) -> tuple[str, str]:
    cleaned, changes = clean(text, settings)
    return cleaned, " ".join(changes)


@pytest.mark.parametrize(("text", "cleaned", "changes"), CASES, ids=[c[0][:20] for c in CASES])
def test_texts_are_cleaned_and_what_changed_is_named(text: str, cleaned, changes: str) -> None:
    assert kinds(text, Cleaning()) == (text if cleaned is None else cleaned, changes)
    assert kinds(text, Cleaning(skip=CHANGES)) == (text, "")


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_can_be_switched_off_alone(change) -> None:
    text = "<b>a</b> &amp; b https://x.y"
    expected = " ".join(c for c in CHANGES if c != change)
    assert kinds(text, Cleaning(skip=(change,)))[1] == expected


@pytest.mark.parametrize(("text", "cleaned", "changes"), PERSONAL)
def test_personal_data_are_masked_where_that_is_wished(text: str, cleaned, changes: str) -> None:
    assert kinds(text, Cleaning(mask=MASKS)) == (text if cleaned is None else cleaned, changes)
    assert kinds(text, Cleaning()) == (text, "")


def test_an_example_shows_the_place_that_changed_and_nothing_masked() -> None:
    text = f"{'word ' * 99}jo@a.org <br> and more"
    _, changes = clean(text, Cleaning(mask=("mail",)))
    assert "<br>" in changes["markup"]
    assert "[mail]" in changes["mail"]
    assert not any("jo@a.org" in example for example in changes.values())


@pytest.mark.parametrize("text", ["<a " * 7000, "a" * 20_000 + "@", "1 " * 10_000, "&" * 20_000])
def test_a_long_hostile_text_is_cleaned_at_once(text: str) -> None:
    assert clean(text, Cleaning(mask=MASKS))[0]


def drawn(lines: list[str], tmp_path, **cleaning) -> Draw:
    path = tmp_path / "mine.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return draw_texts([Texts(file=path)], 1, None, Cleaning(**cleaning))


def test_losses_and_changes_are_counted_with_examples(tmp_path) -> None:
    lines = [
        "Fine <br> film",
        "FINE  film",
        "fine film",
        "5/5 \U0001f600",
        "https://a.b/c",
        " ",
        "x",
    ]
    draw = drawn(lines, tmp_path)
    n_same = draw.left_out["mine", "equal but for case"] + draw.left_out["mine", "duplicate"]
    assert n_same == 2
    assert draw.left_out["mine", "no words"] == 2
    assert draw.left_out["mine", "empty"] == 1
    assert len(draw.texts) == 2
    assert draw.left_out.total() == 5
    assert sorted(draw.examples["no words"]) == ["5/5 \U0001f600", "https://a.b/c"]
    kept = drawn(lines, tmp_path, skip=("no words", "case", "markup", "links"))
    assert kept.left_out == {("mine", "empty"): 1}
    assert kept.changed == {}


def test_cleaned_texts_are_counted_and_keep_place_and_label(tmp_path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("text,y\nFine <br> film,good\nPlain,bad\n", encoding="utf-8")
    source = Texts(file=path, label_column="y")
    draw = draw_texts([source], 1, None)
    assert {(t.id, t.text, t.label) for t in draw.texts} == {
        ("mine/000000", "Fine film", "good"),
        ("mine/000001", "Plain", "bad"),
    }
    assert draw.changed == {("mine", "markup"): 1}
    assert [t.text for t in read_texts(source)] == ["Fine <br> film", "Plain"]


def test_masked_data_stand_in_no_text_and_no_example(tmp_path) -> None:
    lines = ["Mail jo@a.org <br>", "mail JO@a.org", "jo@a.org", "\U0001f600 jo@a.org"]
    draw = drawn(lines, tmp_path, mask=MASKS)
    shown = [*(t.text for t in draw.texts), *(e for es in draw.examples.values() for e in es)]
    assert not any("@a.org" in text for text in shown)
    assert draw.changed["mine", "mail"] == len(draw.texts)


def test_links_alone_leave_nothing_to_draw(tmp_path) -> None:
    with pytest.raises(InputError, match="no text is left; left out: 1 no words"):
        drawn(["https://a.b/c"], tmp_path)
    with pytest.raises(InputError, match="no text is left; left out: 1 empty"):
        drawn(["https://a.b/c"], tmp_path, skip=("no words",))
