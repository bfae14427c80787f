"""A short answer as the words and numbers it consists of, whatever its spelling.

    "The cost: $1,000.50" -> ("cost", "$", "1000.5")      "-5 %" -> ("-5", "%")

After the EvalAI normaliser, less what loses meaning there: decimals, minus signs, commas that
separate no thousands (1,5 is not 15), leading zeros of codes, the last letter of "vitamin A".
"""

import re
import unicodedata

SYMBOLS = "%$€£¥₹°#&"
LETTER = (
    rf"[^\s\d!-/:-@\[-`{{-~{SYMBOLS}"
    r"\u00a1\u00ab\u00b7\u00bb\u00bf\u2010-\u2027\u2030-\u205e\u3000-\u303f]"
)
TOKEN = re.compile(
    r"(?P<sign>(?:^\s*+-\s*+|(?<![^\s(\[%$€£¥₹])-)(?=[$€£¥₹]?\.?\d))"
    r"|(?P<number>(?<![\d,])\d{1,3}(?:,\d{3})++(?![,\d])(?:\.\d++)?|\d++(?:\.\d++)?|\.\d++)"
    rf"|(?P<word>{LETTER}(?:{LETTER}|\d)*+(?:['.]{LETTER}++)*+)"
    rf"|(?P<symbol>[{SYMBOLS}])"
)
MINUSES = dict.fromkeys(map(ord, "\u2212\u2010\u2011\u2012\u2013"), "-") | {0x2019: "'"}
NAMES = {
    name: str(value)
    for value, name in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
} | {"percent": "%"}


def tokens(text: str) -> tuple[str, ...]:
    """The words and numbers of `text`, in order; the text itself if it has none."""
    text, found = _read(text)
    return tuple(_without_articles([NAMES.get(word, word) for word in found]) or found or [text])


def parts(text: str) -> tuple[str, ...]:
    """As `tokens`, but words stay as they are: no "one" becomes 1, and no article is dropped."""
    return tuple(_read(text)[1])


def _read(text: str) -> tuple[str, list[str]]:
    """The text in its plainest characters, and what it consists of."""
    text = unicodedata.normalize("NFKC", text.translate(MINUSES)).casefold()
    text = unicodedata.normalize("NFKC", text).strip()
    found: list[str] = []
    sign = ""
    for match in TOKEN.finditer(text):
        if match["sign"]:
            sign = "-"
        elif match["number"]:
            found.append(sign + _number(match["number"]))
            sign = ""
        else:
            found.append(match[0].replace("'", "").replace(".", ""))
    return text, found


def _number(text: str) -> str:
    whole, _, fraction = text.replace(",", "").partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole or '0'}.{fraction}" if fraction else whole or "0"


def _without_articles(words: list[str]) -> list[str]:
    """Without "the", and "a" or "an" at the start: elsewhere they may be letters."""
    kept = [word for word in words if word != "the"]
    first = next((i for i, word in enumerate(kept) if word not in ("a", "an")), len(kept))
    return kept[first:]
