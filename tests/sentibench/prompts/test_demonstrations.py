"""Which demonstrations are drawn, and what a seed may look like."""

import random

import pytest

from sentibench.errors import InputError
from sentibench.prompts.demonstrations import draw_demonstrations, parse_seed


@pytest.mark.parametrize(("seed", "shots"), [(42, 4), (52, 0), (62, 9)])
def test_one_generator_draws_for_item_after_item_without_replacement(seed: int, shots: int) -> None:
    random.seed(seed)  # as the authors' scripts do
    expected = tuple(tuple(random.sample(range(9), shots)) for _ in range(30))
    assert draw_demonstrations(seed, 9, 30, shots) == expected
    assert all(len(set(drawn)) == shots for drawn in expected)


@pytest.mark.parametrize("shots", [-1, 10])
def test_more_demonstrations_than_training_examples_are_refused(shots: int) -> None:
    with pytest.raises(InputError, match=rf"shots: .*; got {shots}, expected 0 to 9 \(the size"):
        draw_demonstrations(42, 9, 30, shots)


@pytest.mark.parametrize(
    ("given", "seed"),
    [(42, 42), (0, 0), (-7, -7), ("52", 52), (" -7\n", -7), ("9" * 18, int("9" * 18))],
)
def test_a_seed_is_a_whole_number_or_the_text_of_one(given: object, seed: int) -> None:
    read = parse_seed(given, "--seed")
    assert (read, type(read)) == (seed, int)


@pytest.mark.parametrize(
    "given", [True, 42.0, "42.0", "4 2", "", "x42", "٤٢", "9" * 19, None, [42], "x" * 10_000]
)
def test_anything_else_is_refused_with_its_place_and_the_seeds_of_the_paper(given: object) -> None:
    with pytest.raises(InputError) as error:
        parse_seed(given, "prompts --seed")
    assert str(error.value) == (
        f"prompts --seed: got {str(given)[:40]!r}, expected a whole number; "
        "the paper's seeds are 42, 52, 62"
    )
