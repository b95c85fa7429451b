"""The guards of training data: something is supervised, the end is, demonstrations give way."""

import copy
import dataclasses
import multiprocessing
import os
import random
from collections import Counter
from itertools import cycle
from pathlib import Path

import pytest

pytest.importorskip("torch")

import distill.student.samples
import distill.workers
from distill.checkpoints import load_tokenizer
from distill.student.lines import LineTokenizer
from distill.student.samples import (
    BATCH,
    Sample,
    SampleFiles,
    _encode,
    encode_samples,
    write_samples,
)
from sentibench.errors import InputError
from sentibench.prompts.few_shot import render_few_shot

SHOWN = tuple((f"a plain text of number {i}", "positive") for i in range(6))


def sample(n_shots: int, instruction: str = "Name the sentiment.", text: str = "a last text"):
    shown = SHOWN[:n_shots]
    prompt = render_few_shot(instruction, shown, text)
    return Sample("s", prompt, "negative", text, instruction, shown)


def test_the_last_supervised_token_is_the_end_of_the_text(tiny_tokenizer) -> None:
    for response in ("negative", " Two lines.\nAnd more. "):
        given = Sample("s", "Text: fine\n\nExplanation:", response, "fine")
        (example,) = encode_samples([given], tiny_tokenizer, 100).examples
        supervised = example.ids[example.n_prompt :]
        assert supervised[-1] == tiny_tokenizer.eos_token_id
        assert tiny_tokenizer.decode(supervised[:-1]) == " " + response.strip()


def test_the_prompt_is_tokenised_as_the_evaluation_does(tiny_tokenizer) -> None:
    given = sample(2)
    (example,) = encode_samples([given], tiny_tokenizer, 500).examples
    assert list(example.ids[: example.n_prompt]) == tiny_tokenizer(given.prompt)["input_ids"]


def test_the_first_demonstrations_give_way_before_the_text_does(tiny_tokenizer) -> None:
    whole = len(encode_samples([sample(6)], tiny_tokenizer, 999).examples[0].ids)
    encoding = encode_samples([sample(6)], tiny_tokenizer, whole - 1)
    (example,) = encoding.examples
    text = tiny_tokenizer.decode(example.ids)
    assert (example.dropped, encoding.shortened) == (1, 1)
    assert SHOWN[0][0] not in text
    assert all(shown in text for shown, _ in SHOWN[1:])
    assert "Name the sentiment." in text
    assert "a last text" in text


def test_what_does_not_fit_is_left_out_and_counted(tiny_tokenizer) -> None:
    long = sample(1, text="word " * 300)
    encoding = encode_samples([long, sample(1)], tiny_tokenizer, 150)
    assert (encoding.too_long, len(encoding.examples)) == (("s",), 1)
    with pytest.raises(InputError, match="none of 1 samples fits 20 tokens"):
        encode_samples([long], tiny_tokenizer, 20)


def test_without_instruction_the_last_demonstration_stays(tiny_tokenizer) -> None:
    bare = sample(1, instruction="")
    n = len(encode_samples([bare], tiny_tokenizer, 999).examples[0].ids)
    with pytest.raises(InputError, match="none of 1 samples"):
        encode_samples([bare], tiny_tokenizer, n - 1)


def test_a_tokenizer_without_an_end_is_refused(tiny_tokenizer, tmp_path: Path) -> None:
    endless = copy.deepcopy(tiny_tokenizer)
    endless.eos_token = None
    endless.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="cannot learn to stop"):
        load_tokenizer(str(tmp_path))


def test_the_tokenizer_of_these_tests_may_be_given_lines(tiny_tokenizer) -> None:
    assert LineTokenizer(tiny_tokenizer, [])._cut is not None


@pytest.mark.parametrize("may_cut", [True, False])
def test_prompts_counted_within_their_samples_have_as_many_tokens_as_alone(
    may_cut: bool, tiny_tokenizer, monkeypatch
) -> None:
    if not may_cut:
        monkeypatch.setattr(LineTokenizer, "_may_cut", lambda *_: False)
    samples = [
        Sample(str(n), f"{'A text. ' * (n % 7)}\n \nText {n}:\n{end}", f"said {n}", "x")
        for n, end in zip(range(3 * BATCH), cycle(["Label:", "", " a", "\n\n", "Say é:"]))
    ]
    encoding = encode_samples(samples, tiny_tokenizer, 500)
    assert len(encoding.examples) == len(samples)
    for given, example in zip(samples, encoding.examples, strict=True):
        assert example == _encode(given, tiny_tokenizer, 500)
    lengths = [len(example.ids) for example in encoding.examples]
    assert encoding.examples.lengths_N.tolist() == lengths
    n_prompt = sum(example.n_prompt for example in encoding.examples)
    assert encoding.examples.n_supervised == sum(lengths) - n_prompt


def random_samples(n: int, rng: random.Random):
    """Few-shot samples of all lengths; some texts stand in others, or begin with blanks."""
    words = ["a", "é", "plain ", "text\n", "\n\nSentence:", "Label: ", " ", "x" * 9, "so so so"]

    def text() -> str:
        return "".join(rng.choices(words, k=rng.randrange(1, 30))) + rng.choice(["e", "end"])

    for number in range(n):
        shown = tuple((text(), rng.choice(["good", "so bad"])) for _ in range(rng.randrange(7)))
        instruction = rng.choice(["", "Name it.", text()])
        asked = rng.choice([text(), "x", "word " * 60])
        prompt = render_few_shot(instruction, shown, asked)
        if number % 50 == 0:  # another prompt than its demonstrations make
            prompt = f"{asked} {text()}"
        soft = [(), ()] if number % 3 else [("good", "so bad", " odd"), (0.5, 0.25, 0.25)]
        yield Sample(str(number), prompt, "good", asked, instruction, shown, *soft)


@pytest.mark.parametrize("max_length", [60, 90, 200])
@pytest.mark.parametrize("may_cut", [True, False])
def test_shortened_samples_and_labels_are_as_each_text_tokenised_whole(
    may_cut: bool, max_length: int, tiny_tokenizer, monkeypatch
) -> None:
    if not may_cut:
        monkeypatch.setattr(LineTokenizer, "_may_cut", lambda *_: False)
    samples = list(random_samples(3 * BATCH, random.Random(max_length)))
    plain = [_encode(given, tiny_tokenizer, max_length) for given in samples]
    encoding = encode_samples(samples, tiny_tokenizer, max_length)
    assert list(encoding.examples) == [example for example in plain if example]
    assert list(encoding.too_long) == [s.id for s, e in zip(samples, plain, strict=True) if not e]
    assert encoding.shortened > 50
    assert encoding.too_long


@pytest.mark.parametrize("error", [-200, -40, -9, 9, 40, 200])
def test_a_wrong_guess_of_the_length_changes_nothing(
    error: int, tiny_tokenizer, monkeypatch
) -> None:
    likely = LineTokenizer.likely_lengths

    def wrong(*given) -> list[int]:
        return [length + error for length in likely(*given)]

    monkeypatch.setattr(LineTokenizer, "likely_lengths", wrong)
    samples = list(random_samples(BATCH, random.Random(error)))
    found = encode_samples(samples, tiny_tokenizer, 200).examples
    plain = [_encode(given, tiny_tokenizer, 200) for given in samples]
    assert list(found) == [example for example in plain if example]


def test_lines_of_samples_that_are_too_long_are_tokenised_once(tiny_tokenizer, monkeypatch) -> None:
    """Of 20 demonstrations, 15 go at once; some samples are tokenised whole, to try the lines."""
    shown = tuple((f"text {n}: " + "some more words " * 15, "positive") for n in range(20))
    given = Sample("s", render_few_shot("Name it.", shown, "x"), "good", "x", "Name it.", shown)
    whole = len(_encode(given, tiny_tokenizer, 99_999).ids)
    asked: list[str] = []

    def counted(self, texts, **settings):
        asked.extend([texts] if isinstance(texts, str) else texts)
        return call(self, texts, **settings)

    call = type(tiny_tokenizer).__call__
    monkeypatch.setattr(type(tiny_tokenizer), "__call__", counted)
    found = encode_samples([given] * (BATCH + 1), tiny_tokenizer, whole * 7 // 25).examples
    assert found[0].dropped == 15
    whole = [text for text in asked if text.startswith(given.prompt)]
    assert whole == [f"{given.prompt} good"] * (BATCH + 1)
    of_lines = Counter(text for text in asked if "more words" in text and text not in whole)
    assert set(of_lines.values()) == {1}


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="work is shared by forking"
)
def test_processes_that_share_samples_of_two_files_encode_them_as_one_process_does(
    tmp_path: Path, tiny_tokenizer, monkeypatch
) -> None:
    words = ("yes", "no")
    given = [
        dataclasses.replace(one, id=str(n), labels=words, target=(0.7, 0.3)) if n % 3 else one
        for n in range(2 * BATCH + 90)
        for one in [dataclasses.replace(sample(n % 7, text=f"{n}" + " long" * (n % 50)), id=str(n))]
    ]
    files = [tmp_path / "first.jsonl", tmp_path / "second.jsonl"]
    write_samples(given[:100], files[0])
    write_samples(given[100:], files[1])
    plain = [_encode(one, tiny_tokenizer, 70) for one in given]
    here = os.getpid()

    def noted(batch, *args):
        assert os.getpid() != here
        return encode_batch(batch, *args)

    encode_batch = distill.student.samples._encode_batch
    monkeypatch.setattr(distill.student.samples, "_encode_batch", noted)
    monkeypatch.setattr(distill.workers, "FEWEST", 10)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    found = encode_samples(SampleFiles(*files), tiny_tokenizer, 70)
    assert list(found.examples) == [one for one in plain if one]
    assert found.too_long == tuple(o.id for o, e in zip(given, plain, strict=True) if not e)
    assert found.shortened
    assert found.too_long


def test_samples_read_back_as_they_were_and_a_damaged_line_is_named(tmp_path: Path) -> None:
    samples = [sample(2), Sample("odd", "\u2028 prompt", "\ud83d lone", "x")]
    write_samples(samples, tmp_path / "samples.jsonl")
    assert list(SampleFiles(tmp_path / "samples.jsonl")) == samples
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.write('{"id": "x"}\n')
    with pytest.raises(InputError, match=r"samples.jsonl line 3: not a sample"):
        list(SampleFiles(tmp_path / "samples.jsonl"))
