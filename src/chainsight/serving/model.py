"""Questions to a loaded model, several at a time. Everything here runs in one thread."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chainsight import answers
from chainsight.errors import ChainsightError
from chainsight.records import Example
from chainsight.serving.protocol import Answer, Choice, Question, RefusedError, cut_at_stop
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.sampling import Generated, continue_rows
from chainsight.vlm.template import Row, student


class Model:
    """What the worker asks."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        text: Any = loaded.model.config.get_text_config()
        self._longest = int(getattr(text, "max_position_embeddings", 2**31))

    def answer(self, questions: Sequence[Question]) -> list[Answer | RefusedError]:
        """Answer questions of equal `sampling` as one batch; a bad one does not hurt the others."""
        rows = [self._row(question) for question in questions]
        good = [row for row in rows if isinstance(row, Row)]
        how = questions[0].sampling
        said = iter(
            continue_rows(
                self._loaded,
                good,
                max_new_tokens=how.max_tokens,
                temperature=how.temperature,
                top_p=how.top_p,
                num_candidates=how.num_candidates,
            )
        )
        return [
            _answer(question, row, next(said)) if isinstance(row, Row) else row
            for question, row in zip(questions, rows, strict=True)
        ]

    def _row(self, question: Question) -> Row | RefusedError:
        try:
            row = self._tokenised(question)
            for image in row.images:  # decoded here, kept for then
                self._loaded.template.pictures(image, "image_url")
        except ChainsightError as error:
            return RefusedError(400, str(error))
        wanted = len(row) + question.sampling.max_tokens
        if wanted > self._longest:
            return RefusedError(
                400,
                f"prompt and max_tokens are {len(row)} + {question.sampling.max_tokens} tokens, "
                f"the model takes {self._longest}; ask for less",
                "context_length_exceeded",
            )
        return row

    def _tokenised(self, question: Question) -> Row:
        template, image = self._loaded.template, question.image
        if question.mode is None:
            turns = [{**turn, "content": self._neutral(turn["content"])} for turn in question.turns]
            row = Row("", template.conversation_ids(turns, (image,), "image_url"), (), (image,))
        else:
            style = self._loaded.prompt_style
            row = template.row(student(_example(question), question.mode, style))
        content = hashlib.sha256(repr(tuple(row.prompt_ids)).encode() + image).hexdigest()
        return replace(row, key=f"{question.key}/{content}")

    def _neutral(self, content: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Texts that cannot end their turn or start another, whatever they hold."""
        neutral = self._loaded.template.neutral
        return [
            part | {"text": neutral(part["text"])} if part["type"] == "text" else part
            for part in content
        ]


def _example(question: Question) -> Example:
    return Example(
        id="image_url",
        dataset="",
        split="",
        question=question.text(),
        references=(),
        metric="",
        images=(question.image,),
        choices=question.choices,
    )


def _answer(question: Question, row: Row, said: Sequence[Generated]) -> Answer:
    return Answer(
        choices=tuple(_choice(question, one) for one in said),
        prompt_tokens=len(row),
        completion_tokens=sum(one.num_tokens for one in said),
    )


def _choice(question: Question, said: Generated) -> Choice:
    text, stopped = cut_at_stop(said.text, question.stops)
    truncated = said.truncated and not stopped
    extension = None
    if question.mode is not None:
        reading = answers.read_answer(text, question.mode, truncated=truncated)
        extension = {
            "answer": reading.value,
            "rationale": answers.rationale(text, question.mode),
            "status": reading.status,
        }
    return Choice(text, "length" if truncated else "stop", extension)
