"""distilabel's side, in a venv of its own: `python ask_distilabel.py JOB.json`.

It knows no limits; what bounds it is the number of questions of a batch, which are in flight at
once, and the openai client's own retries. `BATCH` is the number with which a batch takes as many
tokens as are allowed while its slowest answer comes.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGenerationWithImage

BATCH = 160


def main(job: dict[str, Any]) -> int:
    """Ask everything; the number of answers."""
    lines = (Path(job["folder"]) / "questions.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    data = [
        {
            "instruction": row["prompt"],
            "image": base64.b64encode(Path(row["image"]).read_bytes()).decode(),
        }
        for row in rows
    ]
    with Pipeline("benchmark") as pipeline:
        load = LoadDataFromDicts(data=data, batch_size=BATCH)
        ask = TextGenerationWithImage(
            llm=OpenAILLM(
                model=job["model"],
                base_url=job["url"],
                api_key="sk-none",
                max_retries=10,
                timeout=job["timeout"],
                generation_kwargs={"max_new_tokens": job["max_tokens"], "temperature": 0.0},
            ),
            system_prompt=rows[0]["system"],
            image_type="base64",
            add_raw_input=False,  # else this version cannot write its table: text beside parts
            input_batch_size=BATCH,
        )
        load >> ask
    found = pipeline.run(use_cache=False)["default"]["train"]
    return sum(row["generation"] is not None for row in found)


if __name__ == "__main__":
    print(json.dumps({"answers": main(json.loads(Path(sys.argv[1]).read_text()))}))
