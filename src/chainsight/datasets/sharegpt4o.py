"""ShareGPT-4o-Reasoning: the paper's published rationales (sft) and preference pairs (dpo).

https://huggingface.co/datasets/Share4oReasoning/sft_data and .../dpo_data; arXiv 2410.16198;
Apache-2.0. A split is a file, named after the dataset that its questions come from. Samples:

    sft  {"id": "..._17", "image": "aokvqa/000000299207.jpg", "conversations": [
          {"from": "human", "value": "<image>\\nWhich flag is shown?\\nA. uk\\nB. us\\nC. fr\\nD. it
           \\nGenerate a reason first and then output a letter answer."},
          {"from": "gpt", "value": "The flag has ...\\n\\n### Answer: A. uk"}]}
    dpo  {"idx": 17, "image": "chartqa/two_col_43014.png", "question": "<image>\\nHow many ...?\\n
          Generate a reason first and then output a short answer.",
          "chosen": "...\\n\\n### Answer: 14", "rejected": "...\\n\\n### Answer: 15"}

The rationale stands in `meta` as `rationale`, a pair as `chosen` and `rejected`; docs/published.md
says what becomes of them. The publisher's answer is the only one known: a question has one
reference. Images are paths below `images`, unpacked from the publisher's archives.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from chainsight import answers
from chainsight.datasets.base import Dataset, image, text
from chainsight.datasets.chartqa import CHARTQA
from chainsight.datasets.conversations import (
    instruction,
    pictures,
    single,
    source_id,
    split_options,
    without_instruction,
)
from chainsight.datasets.labels import letter_named
from chainsight.datasets.sources import BadRowError, Row
from chainsight.records import Kind


@dataclass(frozen=True)
class Asked:
    """How a source's questions are asked and judged, with one reference each."""

    kind: Kind
    metric: str
    reward: str = ""
    lettered: bool | None = False
    """Whether its questions have options; None: some have."""


LETTERS = Asked("open", "multiple_choice", lettered=True)
MATH = Asked("math", "mathvision", lettered=None)
DOCUMENT = Asked("document", "anls", "normalized_match")

COT: dict[str, tuple[str, Asked]] = {
    "ai2d": ("ai2d/cot.none.jsonl", LETTERS),
    "aokvqa": ("aokvqa/cot.none.jsonl", LETTERS),
    "chartqa": ("chartqa/cot.none.jsonl", Asked("chart", CHARTQA.metric, CHARTQA.reward)),
    "docvqa": ("docvqa/cot.none.jsonl", DOCUMENT),
    "geo_mcq": ("math/geo.mcq.x2.jsonl", MATH),
    "geo_sa": ("math/geo.sa.x2.jsonl", MATH),
    "infographicvqa": ("infovqa/cot.none.jsonl", DOCUMENT),
    "mathvision": ("mathvision/cot.none.jsonl", MATH),
    "scienceqa": ("sqa/cot.image.none.jsonl", LETTERS),
    "textvqa": ("textvqa/cot.none.jsonl", Asked("scene_text", "normalized_match")),
}
"""Split to file and manner: rationales that end in the marker."""

INSTRUCT = {
    "geo_align_qa": "math/geo-align.qa.4k.jsonl",
    "geo_align_rationale": "math/geo-align.rationale.4k.jsonl",
    "geo_qa_qa": "math/geo-qa.qa.4k.jsonl",
    "geo_qa_rationale": "math/geo-qa.rationale.4k.jsonl",
    "geoqa_plus_qa": "math/geoqa_plus.qa.jsonl",
    "gllava_align": "math/gllava.align.jsonl",
}
"""Split to file: what the paper's scripts add of G-LLaVA; learned word for word, as they do."""

DPO: dict[str, Asked] = {name: COT[name][1] for name in ("aokvqa", "chartqa")} | {"math": MATH}


def _answered(asked: str, rationale: str, how: Asked, given: str = "") -> dict[str, Any]:
    """Question, options and reference; `given` is an annotation that wins over the rationale's."""
    question = without_instruction(asked)
    choices = None
    if how.lettered is not False:
        question, choices = split_options(question)
    if how.lettered and not choices:
        raise BadRowError("the question has no options")
    answer = given or _final(rationale)
    return {
        "question": question,
        "choices": choices,
        "references": (letter_named(answer, choices) if choices else answer,),
        "kind": how.kind,
        "metric": how.metric,
        "reward": how.reward,
    }


def _final(rationale: str) -> str:
    found = answers.extract(rationale)
    if found.status != "marker":
        raise BadRowError("the rationale does not end in ### Answer:")
    return found.value


def _rationale(how: Asked, row: Row) -> dict[str, Any]:
    asked, rationale = single(row)
    fields = _answered(asked, rationale, how)
    meta = source_id(row) | {"rationale": rationale}
    return fields | {"images": pictures(row), "meta": meta}


def _pair(how: Asked, row: Row) -> dict[str, Any] | None:
    if not row.get("image"):
        return None
    chosen = text(row, "chosen", "no chosen chain")
    rejected = text(row, "rejected", "no rejected chain")
    given = text(row, "answer", "no answer") if row.get("answer") is not None else ""
    fields = _answered(text(row, "question", "empty question"), chosen, how, given)
    meta = source_id(row, "idx") | {"chosen": chosen, "rejected": rejected}
    return fields | {"images": (image(row, "image"),), "meta": meta}


NOTE = (
    "The texts are GPT-4o's or a model's; questions and images come from other datasets, whose own "
    "terms hold, non-commercial ones among them."
)


def _files(path: str) -> tuple[str, ...]:
    """On the hub below a folder, in others' copies without it."""
    return f"sft/{path}", path


SHAREGPT4O_SFT = Dataset(
    name="sharegpt4o_sft",
    url="https://huggingface.co/datasets/Share4oReasoning/sft_data",
    licence="Apache-2.0",
    licence_note=NOTE,
    hub_id="Share4oReasoning/sft_data",
    revision="ae705e87e0120d14b1e4182a55c323afae597d5a",
    splits=(*COT, *INSTRUCT),
    files={split: _files(path) for split, (path, _) in COT.items()}
    | {split: _files(path) for split, path in INSTRUCT.items()},
    metric="exact_match",
    columns=("conversations",),
    optional_columns=("id", "image"),
    convert=instruction,
    converts={split: partial(_rationale, how) for split, (_, how) in COT.items()},
)

SHAREGPT4O_DPO = Dataset(
    name="sharegpt4o_dpo",
    url="https://huggingface.co/datasets/Share4oReasoning/dpo_data",
    licence="Apache-2.0",
    licence_note=NOTE,
    hub_id="Share4oReasoning/dpo_data",
    splits=tuple(f"{name}{dev}" for name in DPO for dev in ("", "_dev")),
    files={
        f"{name}{dev}": (f"dpo_preview/{file}", file)
        for name in DPO
        for dev, file in (
            ("", f"{name}.pairwise.train.jsonl"),
            ("_dev", f"{name}.pairwise.dev.jsonl"),
        )
    },
    metric="exact_match",
    columns=("question", "chosen", "rejected"),
    optional_columns=("idx", "image", "answer"),
    convert=partial(_pair, Asked("open", "exact_match")),
    converts={
        f"{name}{dev}": partial(_pair, how) for name, how in DPO.items() for dev in ("", "_dev")
    },
)
