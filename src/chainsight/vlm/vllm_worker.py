"""The process that holds vLLM. Run by vLLM's own Python: it imports nothing of ours.

Lines of JSON come and go: first the options of `vllm.LLM`, then requests, each answered by a line.

    {"model": "/policy", "dtype": "bfloat16", ...}
    {"prompts": [{"ids": [1, 2], "images": ["<base64>"]}], "params": [{"n": 32, ...}]}
    {"answers": [{"prompt": [1, 2, 2, 2], "candidates": [[7, 8], [9]]}]}
"""

import base64
import io
import json
import os
import sys
from typing import Any


def main() -> None:
    """Answer until the input ends. What vLLM prints goes to the errors."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from vllm import LLM, SamplingParams  # type: ignore[import-not-found,unused-ignore]

    llm = LLM(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        asked = json.loads(line)
        outputs = llm.generate(
            [_prompt(one) for one in asked["prompts"]],
            [SamplingParams(**_params(one)) for one in asked["params"]],
            use_tqdm=False,
        )
        print(json.dumps({"answers": [_answer(one) for one in outputs]}), file=channel, flush=True)


def _prompt(asked: dict[str, Any]) -> dict[str, Any]:
    from PIL import Image

    opened = (Image.open(io.BytesIO(base64.b64decode(image))) for image in asked["images"])
    pictures = [picture.convert("RGB") for picture in opened]
    given = {"multi_modal_data": {"image": pictures}} if pictures else {}
    return {"prompt_token_ids": asked["ids"], **given}


def _params(asked: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no keys but strings."""
    return {**asked, "logit_bias": {int(k): bias for k, bias in asked["logit_bias"].items()}}


def _answer(output: Any) -> dict[str, Any]:
    drawn = sorted(output.outputs, key=lambda one: one.index)
    return {
        "prompt": list(output.prompt_token_ids),
        "candidates": [list(one.token_ids) for one in drawn],
    }


if __name__ == "__main__":  # vLLM starts processes of its own, which import this file
    main()
