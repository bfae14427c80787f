"""The one extractor of final answers from what a model wrote.

    "The bars read jan 3, feb 5. ...\\n\\n### Answer: **14**."  ->  Answer("14", "marker")

The marker is what training teaches; the fallbacks are what untrained models do, and count as
such. An answer that was not given is never guessed.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from chainsight.records import Mode, Status


@dataclass(frozen=True)
class Answer:
    """The final answer in a text, "" if there is none, and how it was found."""

    value: str
    status: Status


COLON = r"\s*[*_]*\s*[:\uff1a]"
MARKER = re.compile(rf"#+[ \t*_]*(?:final\s+)?answer{COLON}", re.IGNORECASE)
LINE_START = re.compile(rf"^[ \t>*_-]*(?:the\s+)?(?:final\s+)?answer{COLON}", re.I | re.M)
TAG = re.compile(r"<answer>(.*?)</answer>", re.IGNORECASE | re.DOTALL)
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
SENTENCE = re.compile(r"\banswer\s+is\b[ \t]*[:\uff1a]?", re.IGNORECASE)
SENTENCE_END = re.compile(r"(?<!\b[A-Za-z]\.[A-Za-z])\.(?=\s)|\n")

THOUGHT = re.compile(r"<(think|analysis)>.*?(?:</\1>|\Z)", re.IGNORECASE | re.DOTALL)
THOUGHT_END = re.compile(r"\A.*</(?:think|analysis)>", re.IGNORECASE | re.DOTALL)

QUOTES = (('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u2018", "\u2019"))
ABBREVIATION = re.compile(r"(?:\b[A-Za-z]\.){2,}$")


def extract(text: str, *, truncated: bool = False) -> Answer:
    """Find the final answer of `text`.

    `truncated` says that the text was cut at the token limit. Without a marker such a text has
    no answer yet: what a fallback would find in it is a thought on the way.
    """
    spoken = drop_thoughts(text)
    marked = _after_last(MARKER, spoken)
    if marked:
        return Answer(marked, "marker")
    if truncated:
        return Answer("", "truncated")
    if marked == "" or not text.strip():
        return Answer("", "empty")
    for find in FALLBACKS:
        if value := find(spoken):
            return Answer(value, "fallback")
    return Answer("", "no_marker")


PLAIN = "plain"
"""Status of a direct answer that is just the answer, as asked."""


@dataclass(frozen=True)
class Reading:
    """The answer in a model's text and how it was found."""

    value: str
    status: str


def read_answer(text: str, mode: Mode, *, truncated: bool = False) -> Reading:
    """What a model answered: after the marker, or for the direct prompt the first line.

    A first line that the token limit cut is taken as it stands, under the status truncated;
    a chain that was cut has no answer yet. Both modes are cleaned alike (emphasis, quotes, one
    trailing period), so that neither gains by it.
    """
    found = extract(text, truncated=truncated)
    if mode == "cot" or found.status == "marker":
        return Reading(found.value, found.status)
    line, newline, _ = text.strip().partition("\n")
    value = clean(line)
    if not value:
        return Reading("", "empty")
    return Reading(value, "truncated" if truncated and not newline else PLAIN)


def rationale(text: str, mode: Mode) -> str:
    """The reasoning in a model's text: what stands before the last marker, or all without one.

    A direct answer has none, unless the model gave one unasked before a marker.
    """
    matches = list(MARKER.finditer(text))
    if matches:
        return text[: matches[-1].start()].strip()
    return text.strip() if mode == "cot" else ""


def drop_thoughts(text: str) -> str:
    """Remove <think> and <analysis> blocks; one that never closes reaches to the end.

    Some chat templates open the block in the prompt, so a lone closing tag ends one as well.
    """
    return THOUGHT_END.sub("", THOUGHT.sub("", text))


def clean(value: str) -> str:
    """Remove what dresses an answer: emphasis, quotes, a box, one trailing period (not U.S.)."""
    value = _undress(value)
    if value.endswith(".") and not value.endswith("..") and not ABBREVIATION.search(value):
        value = _undress(value[:-1])
    return value


def _undress(value: str) -> str:
    before = None
    while value != before:
        before = value
        value = value.strip().strip("*`").strip()
        for mark, end in (*QUOTES, ("__", "__")):
            inside = value[len(mark) : -len(end)]
            if value.startswith(mark) and value.endswith(end) and inside and mark not in inside:
                value = inside
        boxes = list(boxed(value))
        if len(boxes) == 1 and BOX.match(value) and value.endswith(f"{{{boxes[0]}}}"):
            value = boxes[0]
    return value


def boxed(text: str) -> Iterator[str]:
    """Yield the contents of each balanced \\boxed{...}, in order."""
    for match in BOX.finditer(text):
        depth = 1
        for end in range(match.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                yield text[match.end() : end]
                break


def _after_last(pattern: re.Pattern[str], text: str) -> str | None:
    """The first non-empty line after the last match; "" if none follows, None without match."""
    matches = list(pattern.finditer(text))
    if not matches:
        return None
    lines = (clean(line) for line in text[matches[-1].end() :].splitlines())
    return next((line for line in lines if line), "")


def _line_start(text: str) -> str | None:
    return _after_last(LINE_START, text)


def _tag(text: str) -> str | None:
    found = TAG.findall(text)
    return clean(found[-1]) if found else None


def _box(text: str) -> str | None:
    found = list(boxed(text))
    return clean(found[-1]) if found else None


def _sentence(text: str) -> str | None:
    matches = list(SENTENCE.finditer(text))
    return clean(SENTENCE_END.split(text[matches[-1].end() :].strip())[0]) if matches else None


FALLBACKS: tuple[Callable[[str], str | None], ...] = (_line_start, _tag, _box, _sentence)


# --- multiple choice -------------------------------------------------------------------------

LONE_LETTER = re.compile(r"[(\[{]?\s*([A-Za-z])\s*[)\]}]?[.,:;!?]?")
LETTER_AND_TEXT = re.compile(r"(?:[(\[]\s*([A-Za-z])\s*[)\]]|([A-Za-z])\s*[.):])[.:]?\s*(.+)", re.S)


def match_choice(value: str, choices: Sequence[str]) -> int | None:
    """The index of the option that `value` names, or None.

    Accepted are a lone letter within range, a letter with that option's own text, and an
    option's text if just one option has it. Never a substring, never a random pick.
    """
    value = unicodedata.normalize("NFKC", clean(value))
    if (letter := LONE_LETTER.fullmatch(value)) and (index := _index(letter[1])) < len(choices):
        return index
    texts = [_normalise(choice) for choice in choices]
    if both := LETTER_AND_TEXT.fullmatch(value):
        index = _index(both[1] or both[2])
        if index < len(choices) and _normalise(both[3]) == texts[index]:
            return index
    exact = [i for i, choice in enumerate(choices) if choice.strip() == value]
    same = exact or [i for i, text in enumerate(texts) if text and text == _normalise(value)]
    return same[0] if len(same) == 1 else None


def _index(letter: str) -> int:
    return ascii_uppercase.index(letter.upper())


def _normalise(text: str) -> str:
    text = " ".join(unicodedata.normalize("NFKC", clean(text)).casefold().split())
    if len(text) > 2 and text[0] == text[-1] == "$":
        text = text[1:-1].strip()
    return text.rstrip(".,;:!?") or text
