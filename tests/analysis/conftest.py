"""Predictions by hand."""

from collections.abc import Callable

import pytest

from chainsight.records import Prediction


def answer(
    model: str, mode: str, example_id: str, score: float, text: str = "", tokens: int = 5
) -> Prediction:
    return Prediction(model, example_id, mode, "?", text, text, "marker", score, tokens)


@pytest.fixture
def answers() -> Callable[..., list[Prediction]]:
    """Answers of a model in a mode, a score a question: `bars/0`, `bars/1`, ..."""

    def made(model: str, mode: str, scores: list[float], dataset: str = "bars") -> list[Prediction]:
        return [answer(model, mode, f"{dataset}/{n}", one) for n, one in enumerate(scores)]

    return made
