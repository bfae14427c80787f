"""bespokelabs-curator's side, in a venv of its own: `python ask_curator.py JOB.json`.

Set up as its documentation advises for OpenAI: the account's limits told, retries as they are,
images by path (read when a request is made).
"""

import json
import sys
from pathlib import Path
from typing import Any

from bespokelabs import curator
from bespokelabs.curator.types.prompt import Image
from datasets import Dataset


class Teacher(curator.LLM):  # type: ignore[misc]
    """Asks about a picture."""

    def prompt(self, row: dict[str, Any]) -> tuple[str, Image]:
        """Text and picture; with a picture, this version takes no `system_prompt`."""
        text = f"{row['system']}\n\n{row['prompt']}"
        return text, Image(url=row["image"], mime_type="image/jpeg", detail="auto")

    def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
        """Keep the answer."""
        return {"id": row["id"], "rationale": response}


def main(job: dict[str, Any]) -> int:
    """Ask everything; the number of answers."""
    lines = (Path(job["folder"]) / "questions.jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    teacher = Teacher(
        model_name=job["model"],
        backend="openai",
        backend_params={
            "base_url": job["url"],
            "api_key": "sk-none",
            "max_requests_per_minute": job["requests_per_minute"],
            "max_tokens_per_minute": job["tokens_per_minute"],
            "request_timeout": job["timeout"],
            "require_all_responses": False,
        },
        generation_params={"max_tokens": job["max_tokens"], "temperature": 0.0},
    )
    answers = teacher(Dataset.from_list(rows), working_dir=job["place"])
    return len(getattr(answers, "dataset", answers))


if __name__ == "__main__":
    print(json.dumps({"answers": main(json.loads(Path(sys.argv[1]).read_text()))}))
