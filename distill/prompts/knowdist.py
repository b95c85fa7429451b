"""KnowDist (Zhang et al. 2025, section 3): the teacher explains texts and restates them.

Two families of prompt, analysing and rewriting, each from four perspectives: expression, target,
emotion, background. The prompts are Jinja files that a user can replace one by one. Others can be
composed from attributes that the teacher lists.
"""

from __future__ import annotations

import random
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template, TemplateError

from distill.config import KnowDist
from distill.errors import ConfigError
from distill.prompts.attributes import FAMILY, Attribute, compose
from distill.prompts.ordering import Ordering
from sentibench.errors import refuse_missing
from sentibench.remote.records import Decoding, Message, Request

TEMPLATES = Path(__file__).parent / "templates"
STOP = ("\nText:",)  # a base model goes on with a text of its own


def load_templates(stage: KnowDist) -> Mapping[str, Template]:
    """Load one template per family and perspective, the user's before ours.

    Raises:
        ConfigError: If a template is damaged, uses a variable other than ``text``, or the user's
            folder holds a file that replaces none.
    """
    names = [f"{family}_{view}" for family in stage.families for view in stage.perspectives or [""]]
    names = [name.rstrip("_") for name in names]
    ours = TEMPLATES / ("knowdist_few_shot" if stage.few_shot else "knowdist")
    theirs: dict[str, Path] = {}
    if stage.templates is not None:
        refuse_missing(stage.templates, "a folder of templates", "knowdist.templates: ")
        theirs = {path.stem: path for path in sorted(stage.templates.glob("*.jinja"))}
        if not theirs:
            raise ConfigError(
                f"knowdist.templates: no .jinja file in {stage.templates}; add one, or remove this "
                "setting"
            )
        known = {path.stem for path in ours.glob("*.jinja")}
        for name in theirs.keys() - known:
            raise ConfigError(
                f"knowdist.templates: {theirs[name]}: no template has this name; rename it; known: "
                f"{', '.join(sorted(known))}"
            )
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    templates: dict[str, Template] = {}
    for name in names:
        path = theirs.get(name, ours / f"{name}.jinja")
        try:
            template = environment.from_string(path.read_text(encoding="utf-8").rstrip("\n"))
            shown = template.render(text="\0")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"knowdist.templates: {path}: cannot be read; {error}") from None
        except (TemplateError, TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: {error}; expected {{{{ text }}}} as the only variable"
            ) from None
        if "\0" not in shown:
            raise ConfigError(f"{path}: the text is not shown; expected {{{{ text }}}} in it")
        templates[name] = template
    return templates


def opening_of(stage: KnowDist) -> str:
    """What all prompts of the stage begin with: the domain of the texts, where it is known."""
    return f"Every text is from this domain: {stage.domain}.\n\n" if stage.domain else ""


def n_knowdist_requests(n_texts: int, stage: KnowDist) -> int:
    """How many requests the stage has: its samples, or all pairs of a text and a prompt."""
    return min(stage.samples, n_texts * len(load_templates(stage)))


def each_knowdist_request(
    ordering: Ordering,
    stage: KnowDist,
    seed: int,
    attributes: Sequence[Attribute] = (),
    wanted: Container[int] | None = None,
) -> Iterator[Request]:
    """Ask for every text in turn, families and perspectives evenly spread.

    Args:
        ordering: Of the texts, which are not contaminated, in any order.
        stage: How many samples; a text is asked about again, in another way, only when all were
            asked about as often.
        seed: Of the order of the texts and the decoding.
        attributes: That the teacher listed; a share of the requests is composed from them.
        wanted: Numbers of the requests that are made; None for all.
    """
    templates = load_templates(stage)
    names = list(templates)
    order = ordering.shuffled(f"{seed}/knowdist")
    decoding = Decoding(stage.response_tokens, stage.temperature, stop=STOP, seed=seed)
    domain = opening_of(stage)
    share = stage.attributes.share if stage.attributes and attributes else 0.0
    for number in range(n_knowdist_requests(len(order), stage)):
        if wanted is not None and number not in wanted:
            continue
        again, place = divmod(number, len(order))
        text, name = ordering.texts[order[place]], names[(place + again) % len(names)]
        rng = random.Random(f"{seed}/knowdist/{number}") if share else None
        if rng and rng.random() < share:
            identity = f"knowdist/{FAMILY}/{number:07d}"
            prompt, meta = compose(rng, text, attributes)
        else:
            identity, prompt = f"knowdist/{name}/{text.id}", templates[name].render(text=text.text)
            family, _, perspective = name.partition("_")
            meta = {"family": family, "perspective": perspective}
        yield Request(
            id=identity,
            messages=(Message("user", domain + prompt),),
            text=text.text,
            source=text.source,
            decoding=decoding,
            meta={**meta, "gold": text.label},
        )
