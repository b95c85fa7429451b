"""The reference of settings in the documentation is that of the code, and whole."""

import importlib.util
from pathlib import Path

import pytest

from distill.config import Section

DOCS = Path(__file__).parents[2] / "docs"
spec = importlib.util.spec_from_file_location("reference", DOCS / "settings_reference.py")
assert spec is not None
assert spec.loader is not None
reference = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reference)


def test_the_reference_is_not_stale() -> None:
    written = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert written == reference.reference(), "run python docs/settings_reference.py"


def below(kind: type[Section]) -> set[type[Section]]:
    return {kind}.union(*map(below, kind.__subclasses__()))


def test_every_class_of_the_configuration_is_in_it() -> None:
    listed = [section for _, section in reference.sections()]
    above = {Section, *(s for s in below(Section) if s.__subclasses__())}  # never used themselves
    assert (
        set(listed)
        == {s for s in below(Section) if s.__module__.startswith("distill.config.")} - above
    )
    assert len(listed) >= 17


@pytest.mark.parametrize("section", [section for _, section in reference.sections()])
def test_every_setting_is_described(section: type[Section]) -> None:
    described = reference.described(section)
    assert set(section.model_fields) - set(described) == set()
    assert all(text.endswith((".", ")")) for text in described.values())


def test_types_bounds_and_defaults_are_shown() -> None:
    text = reference.reference()
    assert "| `samples` | whole number at least 1 | `1000` | Few-shot prompts. |" in text
    assert "| `keep` | number above 0 and at most 1 |  | Fraction of the samples. |" in text
    assert "| `betas` | list of 2: number at least 0 and below 1 | `[0.9, 0.95]` |" in text
    assert "| `chat_template_args` | mapping: any value | `{}` |" in text
