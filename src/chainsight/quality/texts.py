"""What can be said of a rationale's words alone: length, repetition, whether the answer leads."""

import re
from collections.abc import Iterator, Sequence

from chainsight.answers import SENTENCE_END
from chainsight.metrics.words import tokens

GRAM = 4
"""Words of a sequence that may be a repeat."""
SENTENCE = 400
"""Characters of the first sentence that are looked at."""

LEAD_IN = re.compile(r"[\s#>*_]*(?:(?:rationale|reasoning|explanation)\s*[*_]*:[\s*_]*)?", re.I)
ANNOUNCED = re.compile(r"\b(?:answer|(?:correct|right)\s+(?:option|choice))\b", re.I)
COPULA = re.compile(
    r"(?:\b(?:is|are|was|were|be)\b|[:=])[\s*_:]*(?:(?:option|choice|letter)\b)?", re.I
)
GIVEN_AS = frozenset(("answer", "correct", "right", "option", "choice"))
SINCE = frozenset(("because", "since", "as", "so", "for", "given", "due", "based"))
YES_NO = (("yes",), ("no",))
SMALL = frozenset(
    tokens(
        "and a an any are as at be been by can could did do does for from had has have how if in "
        "is it its many much of on or that there these this those to was were what when where "
        "which who why will with would you image picture figure diagram chart graph plot bar bars "
        "shown"
    )
)
"""Words of a question that a sentence need not take up to be about it."""


def num_words(thought: str) -> int:
    return len(thought.split())


def repetition(thought: str) -> float:
    """Share of the sequences of four words that occurred before, 0 to 1."""
    words = thought.casefold().split()
    grams = [tuple(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def begins_with_answer(
    thought: str, answer: str, question: str, choices: Sequence[str] = ()
) -> bool:
    """Whether the first sentence already gives the answer away.

    It does if it is the answer (`14.`), announces it (`The answer is 14`, `B is correct`), gives
    it with a reason at once (`Red, because ...`, `Yes, ...`), or is the whole question turned into
    a statement (`There are 14 food items.`). A first look at the picture does not, whatever
    numbers are in it.
    """
    start = _end(LEAD_IN, thought)
    sentence = SENTENCE_END.split(thought[start : start + SENTENCE], maxsplit=1)[0]
    return any(
        _leads(sentence, name) or _announces(sentence, name) or _restates(sentence, name, question)
        for name in _names(answer, choices)
    )


def _end(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.match(text)
    return found.end() if found else 0


def _names(answer: str, choices: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """What the answer is called: itself, and the text of the choice that its letter names."""
    if not answer.strip():
        return
    yield tokens(answer)
    at = ord(answer[0].upper()) - ord("A")
    if len(answer) == 1 and 0 <= at < len(choices):
        yield tokens(choices[at])


def _leads(sentence: str, name: tuple[str, ...]) -> bool:
    said = tokens(sentence)
    if said[:1] in (("option",), ("choice",)):
        said = said[1:]
    rest = said[len(name) :]
    if said[: len(name)] != name:
        return False
    given = rest[:1] == ("is",) and bool(GIVEN_AS & set(rest[1:4]))
    return not rest or name in YES_NO or rest[0] in SINCE or given


def _announces(sentence: str, name: tuple[str, ...]) -> bool:
    word = ANNOUNCED.search(sentence)
    if word is None:
        return False
    said = sentence[word.end() :].partition(", ")[0]  # "to find the answer, look at ..."
    return any(
        tokens(said[copula.end() :])[: len(name)] == name for copula in COPULA.finditer(said)
    )


def _restates(sentence: str, name: tuple[str, ...], question: str) -> bool:
    """Whether all that is asked about, and the answer as its only news, are in the sentence."""
    asked, said = _content(question), _content(sentence)
    about = set(asked) - SMALL
    if len(about) < 2 or not about <= set(said) or set(map(_stem, name)) & set(asked):
        return False
    news = [word for word in said if word not in asked]
    numbers = [word for word in news if _is_number(word)]
    listed = len(numbers) > 1 if _is_number(name[0]) else sentence.count(",") > 1
    return not listed and _within(tuple(map(_stem, name)), said)


def _content(text: str) -> tuple[str, ...]:
    return tuple(_stem(word) for word in tokens(text))


def _stem(word: str) -> str:
    """Without a plural's ending, roughly."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _is_number(word: str) -> bool:
    return word.lstrip("-").replace(".", "", 1).isdecimal()


def _within(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return any(whole[at : at + len(part)] == part for at in range(len(whole) - len(part) + 1))
