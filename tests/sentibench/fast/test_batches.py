"""Which prompts go through the model together."""

import itertools

from sentibench.fast.batches import BATCHES_WORTH, Batch, clusters, cut, in_groups


def rows_of(prompts: list[list[int]]) -> list[list[list[int]]]:
    return [[list(ids) for ids, _ in rows] for rows in clusters(prompts)]


def test_batches_hold_tokens_not_rows() -> None:
    rows = [(tuple(range(n)), [n]) for n in (50, 30, 30, 30, 12)]
    sizes = [[len(ids) for ids, _ in batch] for batch in cut(rows, 10, 80, 99)]
    assert sizes == [[50], [30, 30, 30], [12]]
    assert [len(batch) for batch in cut(rows, 10, 80, 1)] == [1] * 5
    assert [len(batch) for batch in cut(rows, 10, 5, 99)] == [1] * 5  # longer than a batch


def test_no_other_cut_has_less_padding_and_fewer_batches_in_sum() -> None:
    lengths, batch_tokens, most_rows = (40, 39, 22, 21, 21, 20, 9, 8, 8, 7, 3), 96, 4
    rows = [(tuple(range(n)), [number]) for number, n in enumerate(lengths)]

    def cost(batches: list[list[int]]) -> float:
        is_allowed = all(len(b) <= most_rows and len(b) * b[0] <= batch_tokens for b in batches)
        padded = sum(len(batch) * batch[0] for batch in batches)
        return padded + len(batches) * batch_tokens / BATCHES_WORTH if is_allowed else float("inf")

    every = []
    for ends in itertools.product((False, True), repeat=len(lengths) - 1):
        stops = [i + 1 for i, is_end in enumerate(ends) if is_end]
        bounds = itertools.pairwise([0, *stops, len(lengths)])
        every.append(cost([list(lengths[a:b]) for a, b in bounds]))
    found = [[len(ids) for ids, _ in batch] for batch in cut(rows, 0, batch_tokens, most_rows)]
    assert [n for batch in found for n in batch] == list(lengths)
    assert cost(found) == min(every) < cost([[n] for n in lengths])


def test_prompts_of_one_instruction_are_together_the_longest_first() -> None:
    one = [[1] * 20 + [i] * (20 + i) for i in range(5)]
    two = [[2] * 20 + [i] for i in range(5)]
    found = rows_of([*one, *two, [3, 4], [5, 6, 7]])
    assert found == [one[::-1], two, [[5, 6, 7], [3, 4]]]


def test_instructions_behind_a_common_chat_header_are_told_apart() -> None:
    header = list(range(100, 130))
    tasks = [[header + [t] * 20 + [i] * 20 for i in range(6)] for t in (1, 2)]
    assert rows_of([ids for pair in zip(*tasks, strict=True) for ids in pair]) == tasks


def test_a_few_equal_demonstrations_do_not_split_a_task() -> None:
    same = [[1] * 20 + [9] * 20 + [i] for i in range(4)]
    others = [[1] * 20 + [i] * 21 for i in range(20, 28)]
    assert len(clusters([*same, *others])) == 1


def test_equal_prompts_are_one_row_and_nothing_is_nothing() -> None:
    assert clusters([[1, 2], [3], [1, 2]]) == [[((1, 2), [0, 2]), ((3,), [1])]]
    assert clusters([]) == []


def test_groups_hold_batches_in_order_as_many_as_are_allowed() -> None:
    sizes = [2, 2, 2, 9, 1, 4, 4, 1]
    batches = [Batch([((1, 2), [i])] * n, (1,)) for i, n in enumerate(sizes)]
    groups = list(in_groups(batches, 3, 8))
    assert [[len(batch.rows) for batch in group] for group in groups] == [
        *([2, 2, 2], [9], [1, 4], [4, 1])
    ]
    assert [batch for group in groups for batch in group] == batches
    assert list(in_groups([], 3, 8)) == []
