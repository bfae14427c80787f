"""An answer's text cut into what each of its tokens adds to it."""

from collections.abc import Iterator, Sequence

from chainsight.vlm.checkpoint import Loaded

UNFINISHED = "\ufffd"
"""What a decoder writes for bytes that are no whole character yet."""


def pieces(loaded: Loaded, tokens: Sequence[int]) -> tuple[str, ...]:
    """What each token adds to the text; an end-of-turn adds "". Together they are the text."""
    ends = loaded.end_ids
    parts = _parts(loaded.template.tokenizer, [token for token in tokens if token not in ends])
    return tuple("" if token in ends else next(parts) for token in tokens)


def _parts(tokenizer: object, tokens: Sequence[int]) -> Iterator[str]:
    """Decoded in a window of what was said last, as a token's text depends on the one before it.

    A character of several tokens belongs to its last one.
    """

    def decoded(start: int, stop: int) -> str:
        return str(tokenizer.decode(tokens[start:stop], skip_special_tokens=True))  # type: ignore[attr-defined]

    start = told = 0
    for stop in range(1, len(tokens) + 1):
        before, whole = decoded(start, told), decoded(start, stop)
        if whole.endswith(UNFINISHED) and stop < len(tokens):
            yield ""
            continue
        yield whole[len(before) :]
        start, told = told, stop
