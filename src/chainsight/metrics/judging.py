"""An example's answer judged as its dataset says: a score for benchmarks, a verdict for rewards."""

from dataclasses import replace
from string import ascii_uppercase

from chainsight.answers import match_choice
from chainsight.errors import RecordError
from chainsight.metrics import METRICS, expression, words
from chainsight.metrics.base import Metric
from chainsight.records import Example


def score(example: Example, answer: str) -> float:
    """The strict score, as benchmarks publish it, 0 to 1.

    Raises:
        RecordError: unknown metric, or a reference that it cannot use; names the example.
    """
    return _judged(example, example.metric, answer, lenient=False)


def lenient(example: Example, answer: str) -> float:
    """The score of the lenient variant, to be shown beside the strict one. Raises as `score`."""
    return _judged(example, example.metric, answer, lenient=True)


def is_correct(example: Example, answer: str) -> bool:
    """Whether the answer counts as right when rationales are kept and pairs are made.

    It is the dataset's reward that decides (`Example.reward`), not its published metric: a soft
    score of 0.6 on a benchmark may be no right answer at all. An annotator who said nothing (some
    of TextVQA's) makes no silence right. Raises as `score`.
    """
    spoken = tuple(reference for reference in example.references if reference.strip())
    asked = replace(example, references=spoken or example.references)
    value = _judged(asked, example.reward or example.metric, answer, lenient=False)
    return value >= example.reward_threshold


def vote(example: Example, answer: str) -> str:
    """The answer as it is counted among others: an option's letter, a number's value, or words.

    "14.0" votes as "14", "(b)" as "B", "The cat." as "cat"; no answer has no vote, "". No metric
    is asked: those that take 14 for 14.5 would put 14.5 and 15 into one group, too.
    """
    if not answer.strip():
        return ""
    if example.choices and (named := match_choice(answer, example.choices)) is not None:
        return ascii_uppercase[named]
    value = expression.evaluate(answer)
    return " ".join(words.tokens(answer)) if value is None else f"{value:.12g}"


def _judged(example: Example, name: str, answer: str, *, lenient: bool) -> float:
    if name not in METRICS:
        known = ", ".join(METRICS)
        raise RecordError(f"{example.id}: no metric {name!r}; there are {known}")
    if not answer.strip() and all(reference.strip() for reference in example.references):
        return 0.0  # not given is wrong, even where a definition takes the nearest choice
    metric: Metric = METRICS[name]
    params = example.metric_params if name == example.metric else {}
    judge = metric.lenient if lenient else metric.score
    try:
        return judge(answer, example.references, choices=example.choices, **params)
    except RecordError as error:
        raise RecordError(f"{example.id}: {error}") from None
