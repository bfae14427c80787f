"""AI2D: school science diagrams with multiple-choice questions.

https://huggingface.co/datasets/lmms-lab/ai2d; arXiv 1603.07396; no licence stated.
Test 3,088; train about 12,400. Sample:

    {"question": "which of these define dairy item", "options": ["c", "D", "b", "a"],
     "answer": "1", "image": {"bytes": ..., "path": null}}

`ai2d` reads that form; its source lmms-lab/ai2d-no-mask holds the same rows with the letters in
the diagrams not masked by boxes, which is easier: say which one a score is of. Traps:
* `answer` is an index as text: with the options 2, 3, 4, 5 the answer "2" is option C, 4.
* The train questions are not on that page. `ai2d_train` reads them in LLaVA's form, from a folder
  with a file of questions and the pictures that it names:
  `ai2d_train_12k.jsonl` (12,413; OpenGVLab/InternVL-Chat-V1-2-SFT-Data) or the paper's
  `sft/ai2d/direct.none.jsonl` (Share4oReasoning/sft_data, with ai2d_images.tar.gz). Sample:

    {"id": 0, "image": "ai2d/images/0.png", "conversations": [{"from": "human", "value":
     "<image>\\nWhat is A in the diagram?\\nA. ears\\nB. nose\\nAnswer with the option's letter
     from the given choices directly."}, {"from": "gpt", "value": "B"}]}
"""

from dataclasses import dataclass
from typing import Any

from chainsight.datasets import sources
from chainsight.datasets.base import FILES, Dataset, image, text
from chainsight.datasets.conversations import single, split_options, without_instruction
from chainsight.datasets.labels import letter, letter_named, options
from chainsight.datasets.sources import BadRowError, Place, Row
from chainsight.errors import ConfigError

ELSEWHERE = (
    "the train questions of AI2D are not on lmms-lab/ai2d: take the dataset ai2d_train and name as "
    "its source a folder with ai2d_train_12k.jsonl (of OpenGVLab/InternVL-Chat-V1-2-SFT-Data) or "
    "sft/ai2d/direct.none.jsonl (of Share4oReasoning/sft_data) and the pictures that it names"
)


@dataclass(frozen=True, kw_only=True)
class _AI2D(Dataset):
    """Its train split must be brought along."""

    def find(self, split: str, source: Place | None, revision: str | None) -> sources.Files:
        if split == "train" and source in (None, self.hub_id):
            raise ConfigError(ELSEWHERE)
        return super().find(split, source, revision)


def _convert(row: Row) -> dict[str, Any]:
    choices = options(row, "options")
    return {
        "question": text(row, "question", "empty question"),
        "references": (letter(row, "answer", choices),),
        "choices": choices,
        "images": (image(row, "image"),),
    }


def _convert_conversation(row: Row) -> dict[str, Any]:
    asked, answer = single(row)
    question, choices = split_options(without_instruction(asked))
    if choices is None:
        raise BadRowError("the question has no options")
    return {
        "question": question,
        "references": (letter_named(answer, choices),),
        "choices": choices,
        "images": (image(row, "image"),),
    }


SHARED: dict[str, Any] = {
    "url": "https://huggingface.co/datasets/lmms-lab/ai2d",
    "licence": "none stated",
    "licence_note": "The diagrams were gathered from the web by the Allen Institute for AI and "
    "belong to their authors.",
    "metric": "multiple_choice",
}

AI2D = _AI2D(
    name="ai2d",
    hub_id="lmms-lab/ai2d",
    revision="c83a9b9692933aff8349157c88a413df9d02c4e5",
    splits=("train", "test"),
    sizes={"test": 3_088},
    columns=("question", "options", "answer", "image"),
    convert=_convert,
    **SHARED,
)

AI2D_TRAIN = _AI2D(
    name="ai2d_train",
    splits=("train",),
    sizes={"train": 12_413},
    files={
        "train": (
            "ai2d_train_12k.jsonl",
            "sft/ai2d/direct.none.jsonl",
            "ai2d/direct.none.jsonl",
            "direct.none.jsonl",
            *(one.format(split="train") for one in FILES),
        )
    },
    columns=("image", "conversations"),
    convert=_convert_conversation,
    **SHARED,
)
