"""What the program makes one after the other, all at once: tests look at the whole of it."""

from collections.abc import Mapping, Sequence

from distill.config import Cleaning, ICLDist, KnowDist, Run
from distill.prompts.attributes import Attribute
from distill.prompts.icldist import each_icldist_request
from distill.prompts.knowdist import each_knowdist_request
from distill.prompts.ordering import Ordering
from distill.run.data import Labels, StageName, each_request
from distill.texts.decontamination import Contamination
from distill.texts.near_duplicates import plain_digest, same_rows
from distill.texts.sources import Draw, Text, Texts, each_text
from sentibench.remote.records import Request

CLEANING = Cleaning()


def knowdist_requests(
    texts: Sequence[Text], stage: KnowDist, seed: int, attributes: Sequence[Attribute] = ()
) -> list[Request]:
    return list(each_knowdist_request(Ordering(texts), stage, seed, attributes))


def icldist_requests(
    texts: Sequence[Text],
    demonstrations: Mapping[tuple[str, str], str],
    stage: ICLDist,
    seed: int,
) -> list[Request]:
    return list(each_icldist_request(Ordering(texts), demonstrations, stage, seed))


def build_requests(
    run: Run,
    stage: StageName,
    texts: Sequence[Text],
    labels: Labels | None,
    attributes: Sequence[Attribute] = (),
) -> list[Request]:
    return list(each_request(run, stage, texts, labels, attributes))


def draw_texts(
    sources: Sequence[Texts],
    seed: int,
    tests: Contamination | None,
    cleaning: Cleaning = CLEANING,
) -> Draw:
    draw = Draw()
    draw.texts = tuple(each_text(sources, seed, tests, cleaning, draw))
    return draw


def exact_duplicates(texts: Mapping[str, str]) -> dict[str, str]:
    """Id of a duplicate -> the smallest id with the same text, whitespace aside."""
    ids = sorted(texts)
    found = same_rows(plain_digest(texts[id_]) for id_ in ids)
    return {ids[row]: ids[original] for row, original in found.items()}
