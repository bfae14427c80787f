"""The one extractor of final answers from what a model wrote.

    "The bars read jan 3, feb 5. ...\\n\\n### Answer: **14**."  ->  Answer("14", "marker")

The marker is what training teaches; the fallbacks are what untrained models do, and count as
such. An answer that was not given is never guessed.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from chainsight.records import Mode, Status


@dataclass(frozen=True)
class Answer:
    """The final answer in a text, "" if there is none, and how it was found."""

    value: str
    status: Status


# Texts come to a million characters, and some are hostile. So a quantifier that could meet its
# like is possessive, and brackets are matched in one pass, not by a search for each one's end.
COLON = r"\s*+[*_`]*+\s*+[:\uff1a]"
MARKER = re.compile(rf"#(?<!##)#*+[ \t*_`]*+(?i:(?:final\s++)?answer){COLON}")
LINE_START = re.compile(rf"^[ \t>*_`-]*+(?i:(?:the\s++)?(?:final\s++)?answer){COLON}", re.M)
TAG = re.compile(r"<(/?)(?i:answer)>")
BOX = re.compile(r"\\(?:boxed|fbox)\s*+\{")
BRACE = re.compile(rf"{BOX.pattern}|\\.|[{{}}]", re.DOTALL)
SENTENCE = re.compile(r"\b(?i:answer\s++is)\b[ \t]*+[:\uff1a]?")
SENTENCE_END = re.compile(r"(?<!\b[A-Za-z]\.[A-Za-z])\.(?=\s)|\n")
THOUGHT = re.compile(r"<(/?)(?i:(think|analysis))>")

UNSAID = re.compile(r"[\s*_`.]*+")
LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]*+")
RULE = re.compile(r"\s*(?:(?:```|~~~)\w*|-{3,})\s*")
BULLET = re.compile(r"\s*[-\u2022]\s+")

EMPHASIS = re.compile(r"(\*\*?|`)([^*`]+)\1")
QUOTES = (('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u2018", "\u2019"))
ABBREVIATION = re.compile(r"(?:\b[A-Za-z]\.){2,}$")
PERIODS = (".", "\u3002")

TAIL = 100_000
"""Characters from the end in which an answer is looked for."""
LONGEST = 1000
"""Characters. What is longer is no short answer: it is neither undressed nor taken apart."""


def extract(text: str, *, truncated: bool = False) -> Answer:
    """Find the final answer of `text`.

    `truncated` says that the text was cut at the token limit. Without a marker such a text has
    no answer yet: what a fallback would find in it is a thought on the way.
    """
    spoken = drop_thoughts(text)[-TAIL:]
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


def parts(text: str) -> tuple[str, str]:
    """What stands before and after the last marker; all of it before, if there is none."""
    marks = list(MARKER.finditer(text))
    start, end = marks[-1].span() if marks else (len(text), len(text))
    return text[:start].strip(), text[end:].strip()


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
    if marker := _last(MARKER, text):
        return text[: marker.start()].strip()
    return text.strip() if mode == "cot" else ""


def drop_thoughts(text: str) -> str:
    """Remove <think> and <analysis> blocks; one that never closes reaches to the end.

    Some chat templates open the block in the prompt, so a lone closing tag ends one as well.
    """
    kept: list[str] = []
    start, inside = 0, ""
    for tag in THOUGHT.finditer(text):
        closes, name = tag[1], tag[2].lower()
        if inside:
            if closes and name == inside:
                start, inside = tag.end(), ""
        elif closes:
            kept, start = [], tag.end()
        else:
            kept.append(text[start : tag.start()])
            inside = name
    return "".join(kept) if inside else "".join((*kept, text[start:]))


def clean(value: str) -> str:
    """Remove what dresses an answer: emphasis, quotes, a box, one trailing period (not U.S.)."""
    value = value.strip()
    if len(value) > LONGEST:
        return value.strip("*`").strip()
    value = _undress(value)
    if value.endswith(PERIODS) and not value.endswith("..") and not ABBREVIATION.search(value):
        value = _undress(value[:-1])
    return value


def _undress(value: str) -> str:
    before = None
    while value != before:
        before = value
        if emphasised := EMPHASIS.match(value):
            value = emphasised[2] + value[emphasised.end() :]
        value = value.strip().strip("*`").strip()
        for mark, end in (*QUOTES, ("__", "__"), ("_", "_")):
            inside = value[len(mark) : -len(end)]
            if value.startswith(mark) and value.endswith(end) and inside and mark not in inside:
                value = inside
        value = _unboxed(value)
    return value


def _unboxed(value: str) -> str:
    box = BOX.match(value)
    content = next(boxed(value), "") if box else ""
    return content if box and value == f"{box[0]}{content}}}" else value


def boxed(text: str) -> Iterator[str]:
    """Yield the contents of each balanced \\boxed{...}, in the order in which they open."""
    closed: list[tuple[int, int]] = []
    opened: list[int] = []
    for brace in BRACE.finditer(text):
        if brace[0] == "}":
            start = opened.pop() if opened else 0
            if start:
                closed.append((start, brace.start()))
        elif brace[0] == "{":
            opened.append(0)  # a brace of the contents
        elif brace[0].endswith("{") and brace[0] != r"\{":
            opened.append(brace.end())
    for start, end in sorted(closed):
        yield text[start:end]


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def _after_last(pattern: re.Pattern[str], text: str) -> str | None:
    """The first line after the last match that says anything; "" if none does, None without match.

    A code fence or a rule says nothing, and the bullet of a list is no part of an answer.
    """
    match = _last(pattern, text)
    if match is None:
        return None
    end = match.end()
    while (said := _end_of(UNSAID, text, end)) < len(text):
        start = text.rfind("\n", end, said) + 1 or end
        stop = _end_of(LINE, text, said)
        line = text[start:stop] if start == match.end() else BULLET.sub("", text[start:stop], 1)
        if not RULE.fullmatch(line) and (value := clean(line)):
            return value
        end = stop
    return ""


def _end_of(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.match(text, start)
    assert match is not None, "the pattern matches nothing, too"
    return match.end()


def _line_start(text: str) -> str | None:
    return _after_last(LINE_START, text)


def _tag(text: str) -> str | None:
    opened, found = None, None
    for tag in TAG.finditer(text):
        if not tag[1]:
            opened = tag.end()
        elif opened is not None:
            found, opened = text[opened : tag.start()], None
    return None if found is None else clean(found)


def _box(text: str) -> str | None:
    last = deque(boxed(text), maxlen=1)
    return clean(last[0]) if last else None


def _sentence(text: str) -> str | None:
    match = _last(SENTENCE, text)
    return clean(SENTENCE_END.split(text[match.end() :].strip(), 1)[0]) if match else None


FALLBACKS: tuple[Callable[[str], str | None], ...] = (_line_start, _tag, _box, _sentence)


# --- multiple choice -------------------------------------------------------------------------

LONE_LETTER = re.compile(r"[(\[{]?\s*([A-Za-z])\s*[)\]}]?\s*[.,:;!?\u3002]?")
LETTER_AND_TEXT = re.compile(r"(?:[(\[]\s*([A-Za-z])\s*[)\]]|([A-Za-z])\s*[.):])[.:]?\s*(.+)", re.S)
MATHEMATICS = (
    re.compile(r"\$(?P<inside>[^$]+)\$"),
    re.compile(r"\\\((?P<inside>.+)\\\)", re.S),
    re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{(?P<inside>[^{}]*)\}"),
)


def match_choice(value: str, choices: Sequence[str]) -> int | None:
    """The index of the option that `value` names, or None.

    Accepted are a lone letter within range, a letter with that option's own text, and an
    option's text if just one option has it. Never a substring, never a random pick.
    """
    value = clean(value)
    exact = [i for i, choice in enumerate(choices) if choice.strip() == value]
    if len(value) > LONGEST:
        return exact[0] if len(exact) == 1 else None
    value = _plain(value)
    if (letter := LONE_LETTER.fullmatch(value)) and (index := _index(letter[1])) < len(choices):
        return index
    texts = [_normalise(choice) for choice in choices]
    if both := LETTER_AND_TEXT.fullmatch(value):
        index = _index(both[1] or both[2])
        if index < len(choices) and _normalise(both[3]) == texts[index]:
            return index
    same = exact or [i for i, text in enumerate(texts) if text and text == _normalise(value)]
    return same[0] if len(same) == 1 else None


def _index(letter: str) -> int:
    return ascii_uppercase.index(letter.upper())


def _plain(text: str) -> str:
    """Full-width characters narrowed, and what wraps all of the text as mathematics removed."""
    text = unicodedata.normalize("NFKC", text).strip()
    for pattern in MATHEMATICS:
        if match := pattern.fullmatch(text):
            text = match["inside"].strip()
    return text


def _normalise(text: str) -> str:
    text = " ".join(_plain(clean(text)).casefold().split())
    return text.rstrip(".,;:!?") or text
