"""Texts tokenised line by line have the tokens that they have whole, whatever the tokenizer."""

import random

import pytest

pytest.importorskip("torch")

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, trainers
from tokenizers import pre_tokenizers as pre
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from distill.student.lines import CUTS, LineTokenizer, n_tokens

BEFORE, AFTER = CUTS
GPT2 = pre.ByteLevel(add_prefix_space=False)
LLAMA3 = pre.Sequence(
    [
        pre.Split(
            Regex(
                r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
                r"|\s+(?!\S)|\s+"
            ),
            "isolated",
        ),
        pre.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
)
PARTS = ["a", "B", "7", " ", "\n", "\n\n", ".", "?!", "é", "\t", "\r\n", "\u2028", "\u00a0", "\x85"]
PARTS += [
    ";\nText",
    "x:\n",
    "<|user|>\n",
    "'s",
    "日",
    "🙂",
    "\u200b",
    "</s>",
    "word",
    " word",
    "\x1c",
    "-",
    "(",
    "_",
    "\u0301",
]


def texts(n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["x" + "".join(rng.choices(PARTS, k=rng.randrange(1, 40))) for _ in range(n)]


def trained(pre_tokenizer, *, normalizer=None, around: str = "$A", added=(), known: str = ""):
    """A small tokenizer whose vocabulary has line breaks joined with what is around them.

    `known` is a text of which it is to know long parts.
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    if pre_tokenizer is not None:
        tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<unk>", "<s>", "</s>"]
    alphabet = pre.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(
        [*texts(300, 0), "a word.\n\nword\nText: word\n\n" * 20, known * 99], trainer
    )
    tokenizer.add_tokens(list(added))
    ids = [(name, tokenizer.token_to_id(name)) for name in special[1:]]
    tokenizer.post_processor = TemplateProcessing(single=around, special_tokens=ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"pre_tokenizer": GPT2}, BEFORE),
        ({"pre_tokenizer": GPT2, "around": "<s> $A"}, BEFORE),
        ({"pre_tokenizer": GPT2, "around": "<s> $A </s>"}, BEFORE),
        ({"pre_tokenizer": GPT2, "normalizer": normalizers.NFC()}, BEFORE),
        ({"pre_tokenizer": LLAMA3}, AFTER),
        ({"pre_tokenizer": pre.ByteLevel(add_prefix_space=True)}, None),  # a blank before each line
        ({"pre_tokenizer": pre.Metaspace()}, None),  # likewise, and words go on over line breaks
        ({"pre_tokenizer": None}, None),  # tokens such as "\nText"
        ({"pre_tokenizer": GPT2, "normalizer": normalizers.Strip()}, None),
        ({"pre_tokenizer": GPT2, "around": "$A <s>"}, None),
        ({"pre_tokenizer": GPT2, "added": [AddedToken("é", rstrip=True)]}, BEFORE),
        ({"pre_tokenizer": LLAMA3, "added": [AddedToken("word", lstrip=True)]}, AFTER),
        ({"pre_tokenizer": LLAMA3, "known": "foo;\nBar x:\nText "}, AFTER),
        ({"pre_tokenizer": GPT2, "added": ["<|user|>\n"]}, None),
    ],
)
def test_a_text_has_the_tokens_that_it_has_whole(given, expected) -> None:
    tokenizer = trained(**given)
    lines = LineTokenizer(tokenizer, [])
    assert lines._cut is expected
    some = texts(2_000, 1)
    found = lines.encode(some)
    assert [tokens.ids for tokens in found] == tokenizer(some)["input_ids"]
    assert any(len(tokens.starts) > 1 for tokens in found) == (expected is not None)


@pytest.mark.parametrize("around", ["$A", "<s> $A </s>"])
@pytest.mark.parametrize("pre_tokenizer", [GPT2, LLAMA3], ids=["gpt2", "llama3"])
def test_a_prompt_has_as_many_tokens_as_alone_and_its_labels_are_what_follows(
    pre_tokenizer, around
) -> None:
    tokenizer = trained(pre_tokenizer, around=around)
    lines = LineTokenizer(tokenizer, [])

    def alone(text: str) -> list[int]:
        ids = tokenizer(text)["input_ids"]
        return ids[: n_tokens(text, tokenizer)]

    n_told = 0
    for prompt in texts(500, 2):
        (tokens,) = lines.encode([f"{prompt} good\nText"])
        n = lines.n_tokens(prompt, tokens)
        assert n == len(alone(prompt))
        words = lines.label_ids(prompt, ("good", "so\nbad"), tokens, " ")
        n_told += words is not None
        if words is not None:
            for word, label in zip(words, ("good", "so\nbad"), strict=True):
                assert list(word) == alone(f"{prompt} {label}")[n:]
    assert n_told > 100


def test_a_text_in_which_lines_do_not_stand_apart_is_found_among_the_examples(monkeypatch) -> None:
    """As where a tokenizer has a rule that nobody thought of."""
    tokenizer = trained(GPT2)
    encode = type(tokenizer).__call__

    def odd(self, given, **settings):
        found = encode(self, given, **settings)
        if isinstance(given, list):
            for text, ids in zip(given, found["input_ids"], strict=True):
                if "odd\nrule" in text:
                    ids.append(7)
        return found

    monkeypatch.setattr(type(tokenizer), "__call__", odd)
    assert LineTokenizer(tokenizer, ["a\nplain text"])._cut is BEFORE
    assert LineTokenizer(tokenizer, ["an odd\nrule"])._cut is None


def test_a_line_that_several_texts_have_is_tokenised_once(monkeypatch) -> None:
    tokenizer = trained(GPT2)
    lines = LineTokenizer(tokenizer, [])
    asked: list[str] = []
    encode = type(tokenizer).__call__

    def noted(self, given, **settings):
        asked.extend(given)
        return encode(self, given, **settings)

    monkeypatch.setattr(type(tokenizer), "__call__", noted)
    for number in range(3):
        lines.encode([f"Name it.\nText: shown\nLabel: x\n\nText: {number}{n}" for n in range(2)])
    assert sorted(asked) == sorted(
        [
            "Name it.",
            "\nText: shown",
            "\nLabel: x\n",
            *(f"\nText: {n}{m}" for n in "012" for m in "01"),
        ]
    )


def test_a_vocabulary_of_bytes_is_not_cut() -> None:
    tokenizer = trained(GPT2)
    known = tokenizer.get_vocab()
    tokenizer.get_vocab = lambda: {token.encode(): n for token, n in known.items()}
    assert LineTokenizer(tokenizer, [])._cut is None
