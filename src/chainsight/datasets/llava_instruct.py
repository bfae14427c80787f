"""LLaVA's instruction mix: descriptions, conversations and short answers about everyday pictures.

The paper adds 2,000 rows of Open-LLaVA-NeXT's mix to each composition, so that the base model does
not forget what it could: https://huggingface.co/datasets/Share4oReasoning/sft_data, file
`sft/pt_data_mix_2k.jsonl`; the whole mix of about 1 M rows is
https://huggingface.co/datasets/Lin-Chen/Open-LLaVA-NeXT-mix1M, CC-BY-NC-4.0. Any LLaVA JSON or JSON
lines named `train*` is read as well. Sample:

    {"id": "000000033471", "image": "coco/train2017/000000033471.jpg", "conversations":
     [{"from": "human", "value": "<image>\\nWhat are the colors of the bus in the image?"},
      {"from": "gpt", "value": "The bus in the image is white and red."}]}

Images are paths below `images` (coco, gqa, ocr_vqa, vg, ...), unpacked. Answers are learned word
for word, all of a conversation's; nothing is scored. Some rows are about text and have no image.
"""

from chainsight.datasets.base import Dataset
from chainsight.datasets.conversations import instruction

LLAVA_INSTRUCT = Dataset(
    name="llava_instruct",
    url="https://huggingface.co/datasets/Lin-Chen/Open-LLaVA-NeXT-mix1M",
    licence="CC-BY-NC-4.0",
    licence_note="The images are those of COCO, GQA, OCR-VQA, TextVQA, Visual Genome and others, "
    "many answers those of GPT-4V; their own terms hold.",
    non_commercial=True,
    hub_id="Share4oReasoning/sft_data",
    revision="ae705e87e0120d14b1e4182a55c323afae597d5a",
    splits=("train",),
    sizes={"train": 2_000},
    files={
        "train": (
            "sft/pt_data_mix_2k.jsonl",
            "pt_data_mix_2k.jsonl",
            "open-llava-next_instruct_mix1M.json",
            "train*.jsonl",
            "train*.json",
        )
    },
    metric="exact_match",
    kind="instruct",
    columns=("conversations",),
    optional_columns=("id", "image"),
    convert=instruction,
)
