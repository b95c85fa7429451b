"""All that a store holds."""

from typing import cast

from sentibench.remote.records import Answer, Failure
from sentibench.remote.store import Store


def answers(store: Store) -> list[tuple[str, Answer]]:
    """Key and answer, in the order of answering."""
    return [(key, cast(Answer, store.get(key))) for key in store._answers.offsets]


def failures(store: Store) -> list[tuple[str, Failure]]:
    """Key and last failure of every request that was never answered."""
    found = [(key, store.failure(key)) for key in store._failures.offsets]
    return [(key, failure) for key, failure in found if failure]
