"""Agreement of sentibench-hf with lm-eval's hf on all twelve tasks: predictions, log-likelihoods.

python benchmarks/agreement.py CHECKPOINT [PREFIX [ITEMS]]. PREFIX sentibench_ for the real data,
sentibench_mini_ for the package's own texts. IMDb and Yelp2 get a quarter of the items.
"""

import sys

from contestants import load, predictions, requests_of

from sentibench.data.cards import load_cards


def main(checkpoint: str, prefix: str = "sentibench_", n_items: str = "24") -> None:
    theirs, ours = (load(name, checkpoint, "float32") for name in ("hf", "sentibench-hf"))
    print("| task | items | same predictions | log-likelihoods within |\n|---|---|---|---|")
    for card in load_cards().values():
        n = int(n_items) // (4 if card.name in ("imdb", "yelp2") else 1)
        requests = requests_of(prefix + card.name, n)
        if card.is_label_task:
            a, b = (m.loglikelihood(requests, disable_tqdm=True) for m in (theirs, ours))
            gap = f"{max(abs(x - y) for (x, _), (y, _) in zip(a, b, strict=True)):.1e}"
            picks = [predictions(rows, len(card.labels), scored=True) for rows in (a, b)]
        else:
            picks = [m.generate_until(requests, disable_tqdm=True) for m in (theirs, ours)]
            gap = "-"
        same = sum(x == y for x, y in zip(*picks, strict=True))
        print(f"| {prefix}{card.name} | {len(picks[0])} | {same} | {gap} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
