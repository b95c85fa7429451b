"""Are the scoring words single tokens? python docs/check_scoring_words.py FILE_OR_FOLDER ...

Reads a transformers folder, a tiktoken rank file (base64 and rank per line), a Mistral tekken JSON
or a SentencePiece model. Prints one line per tokenizer: the words that are not one token behind
"Label:".
"""

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path

from sentibench.data.cards import load_cards

WORDS = sorted({word for card in load_cards().values() for word in card.scoring_words})


def counter_of(path: Path) -> Callable[[str], int]:
    """Return a function from text to its number of tokens."""
    if path.is_dir():
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(path)
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
    if path.suffix == ".json":
        vocabulary = json.loads(path.read_text(encoding="utf-8"))["vocab"]
        return ranks_counter({base64.b64decode(v["token_bytes"]): v["rank"] for v in vocabulary})
    first = path.read_bytes()[:64].split(b" ")[0]
    try:
        base64.b64decode(first, validate=True)
    except ValueError:
        import sentencepiece

        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        return lambda text: len(model.encode(text))
    lines = path.read_text(encoding="utf-8").split("\n")
    pairs = (line.split() for line in lines if line)
    return ranks_counter({base64.b64decode(token): int(rank) for token, rank in pairs})


def ranks_counter(ranks: dict[bytes, int]) -> Callable[[str], int]:
    import tiktoken

    encoding = tiktoken.Encoding(
        "x",
        # words and punctuation as GPT-4, Llama 3 and Qwen split them, as far as this text needs
        pat_str=r" ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+",
        mergeable_ranks=ranks,
        special_tokens={},
    )
    return lambda text: len(encoding.encode(text))


def main(paths: list[str]) -> None:
    for path in map(Path, paths):
        count = counter_of(path)
        context = count("Label:")
        longer = [w for w in WORDS if count(f"Label: {w}") - context != 1]
        shown, n_single = "/".join(path.parts[-2:]), len(WORDS) - len(longer)
        print(f"{shown:60} {n_single}/{len(WORDS)} {' '.join(longer)}")


if __name__ == "__main__":
    main(sys.argv[1:])
