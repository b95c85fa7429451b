"""Texts, answers and prompts of the item browser."""

from dataclasses import replace

from small_entries import MINI, N, runs

from leaderboard.items import PRIVATE_USE, build_items
from leaderboard.runs.entries import collect_entries
from leaderboard.runs.models import Declared
from leaderboard.runs.results import Protocol, TaskRun
from sentibench.scoring.samples import SampleText

TASK = "sentibench_mini_sst2"
INSTRUCTION = "Decide.\n\nText: a demonstration"


def with_prompts(run: TaskRun, style: str = "", shown: bool = True) -> TaskRun:
    texts = tuple(
        SampleText(
            i, f"text {i}", "positive", "negative",
            f"{style}{INSTRUCTION} {i % 3}\n\n\nText: text {i}" if shown else "",
        )
        for i in range(N)
    )  # fmt: skip
    return replace(run, samples=replace(run.samples, texts=texts))


def items_of(*made: list[TaskRun]):
    entries = collect_entries([run for of in made for run in of], Declared(), MINI)
    keys = {entry.info.name: entry.key for entry in entries}
    return keys, build_items(entries, MINI)[TASK]


def prompt(items, way: int, item: int) -> str:
    prompts = items.prompts
    text = "\n\n".join(prompts.blocks[n] for n in prompts.ways[way][item])
    return text.replace(prompts.mark, items.items[item].sentence)


def test_prompts_are_taken_apart_and_put_together_again() -> None:
    keys, items = items_of([with_prompts(run) for run in runs("a", 0.5)])
    assert items.prompts.way_of == {keys["a"]: 0}
    for i in range(N):
        assert prompt(items, 0, i) == f"{INSTRUCTION} {i % 3}\n\n\nText: text {i}"
    # one instruction, three demonstrations, the end of all of them
    assert len(items.prompts.blocks) == len(set(items.prompts.blocks)) == 1 + 3 + 1


def test_rows_that_were_asked_alike_share_their_prompts() -> None:
    alike = [[with_prompts(run) for run in runs(name, 0.5)] for name in ("a", "b")]
    other = Protocol(chat_template=True)
    chat = [with_prompts(run, "[chat] ") for run in runs("c", 0.5, protocol=other)]
    unlogged = [with_prompts(run, shown=False) for run in runs("d", 0.5)]
    keys, items = items_of(*alike, chat, unlogged)
    way_of = items.prompts.way_of
    assert way_of[keys["a"]] == way_of[keys["b"]] != way_of[keys["c"]]
    assert keys["d"] not in way_of
    assert len(items.prompts.ways) == 2
    assert prompt(items, way_of[keys["c"]], 0).startswith("[chat] Decide.")


def test_the_first_seed_is_shown() -> None:
    seeds = [[with_prompts(r, f"{seed} ") for r in runs("a", 0.5, seed=seed)] for seed in (52, 42)]
    keys, items = items_of(*seeds)
    assert prompt(items, items.prompts.way_of[keys["a"]], 0).startswith("42 Decide.")


def test_a_letter_that_some_prompt_holds_stands_for_no_sentence() -> None:
    used = f"{chr(0xE000)}{chr(0xE001)} "
    keys, items = items_of([with_prompts(run, used) for run in runs("a", 0.5)])
    assert items.prompts.mark == chr(0xE002)
    assert prompt(items, items.prompts.way_of[keys["a"]], 5).startswith(f"{used}Decide.")


def test_prompts_that_hold_every_letter_are_kept_as_they_are() -> None:
    used = "".join(map(chr, PRIVATE_USE))
    keys, items = items_of([with_prompts(run, used) for run in runs("a", 0.5)])
    assert items.prompts.mark == ""
    numbers = items.prompts.ways[items.prompts.way_of[keys["a"]]][7]
    text = "\n\n".join(items.prompts.blocks[n] for n in numbers)
    assert text == f"{used}{INSTRUCTION} 1\n\n\nText: text 7"
