"""Time and exactness of `encode_samples`, which makes tokens of samples for a training.

    python benchmarks/encoding.py CHECKPOINT RUN

RUN is a folder of `benchmarks/scale.py`, or one of a distillation. Prints the processor time of
one process, and compares some samples with texts that are tokenised whole. Then it compares random
texts of blanks, line breaks and signs.
"""

import os
import random
import sys
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import distill.workers
from distill.checkpoints import load_tokenizer
from distill.student.lines import TRIED, LineTokenizer
from distill.student.samples import SampleFiles, _encode, encode_samples

MAX_LENGTH = 1_024  # tokens
COMPARED = 2_000  # samples
RANDOM = 20_000  # texts
PARTS = [  # of random texts
    *"aB7 \n.é\t\u2028\u00a0\x85日🙂\ufeff\u200b\x1c-(_\u0301",
    *("\n\n", "\r\n", "!?", ":\n", ";\nText", "'s", "word", " word", "</s>", "<|im_end|>"),
    *TRIED,
]


def main(checkpoint: str, run: str) -> None:
    """Print one line for each stage, and one for the random texts."""
    distill.workers.FEWEST = sys.maxsize  # one process, whose time is measured
    tokenizer, rng = load_tokenizer(checkpoint), random.Random(1)
    for path in sorted(Path(run).rglob("*-filter/samples.jsonl")):
        samples = SampleFiles(path)
        start = time.process_time()
        found = encode_samples(samples, tokenizer, MAX_LENGTH).examples
        seconds = time.process_time() - start
        plain = [_encode(sample, tokenizer, MAX_LENGTH) for sample in samples[:COMPARED]]
        kept = [example for example in plain if example]
        same = f"{sum(a == b for a, b in zip(kept, found, strict=False))} of {len(kept)} same"
        print(f"{path.parent.name}: {len(samples)} samples, {seconds:.1f} s; {same}")
    texts = ["".join(rng.choices(PARTS, k=rng.randrange(1, 40))) for _ in range(RANDOM)]
    found = LineTokenizer(tokenizer, []).encode(texts)
    n_cut = sum(len(tokens.starts) > 1 for tokens in found)
    whole = tokenizer(texts, verbose=False)["input_ids"]
    same = sum(a.ids == b for a, b in zip(found, whole, strict=True))
    print(f"random texts: {same} of {len(texts)} same, of which {n_cut} were cut at line breaks")


if __name__ == "__main__":
    main(*sys.argv[1:])
