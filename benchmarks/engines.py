"""vLLM on the same question, where it is installed: it takes the whole GPU, so it runs last."""

import io
import time
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import llava
from benchmarks.questions import question
from benchmarks.stand import Place
from chainsight.vlm.template import Prompt


def vllm(place: Place, num_candidates: int, folder: Path, num_prompts: int = 8) -> dict[str, Any]:
    """Seconds of wall time a prompt for N candidates, `n` at once; weights are vLLM's dummies.

    Says why, where it is not installed or refuses. Compare with ours a prompt: vLLM keeps several
    prompts in flight, so one prompt alone would be unfair to it.
    """
    try:
        from vllm import LLM, SamplingParams
    except ImportError as error:
        return {"refused": f"not installed ({error})"}
    small = llava.build(llava.TINY)  # for its tokenizer and template
    llava.save_outline(place.shape, folder)
    asked = [question(n, [2]) for n in range(num_prompts)]
    prompts = [
        {
            "prompt": small.template.rendered(Prompt("q", one.text, one.images)),
            "multi_modal_data": {"image": Image.open(io.BytesIO(one.images[0]))},
        }
        for one in asked
    ]
    engine = LLM(
        model=str(folder),
        load_format="dummy",
        dtype="bfloat16",
        max_model_len=4096,
        enable_prefix_caching=True,
        mm_processor_cache_gb=0,  # each timed picture is to be prepared
    )
    settings = SamplingParams(
        n=num_candidates, temperature=1.0, max_tokens=place.shape.response, ignore_eos=True
    )
    engine.generate(prompts[:1], settings)
    start = time.perf_counter()
    made = engine.generate(prompts[1:], settings)
    seconds = time.perf_counter() - start
    tokens = sum(len(one.token_ids) for request in made for one in request.outputs)
    return {
        "seconds_per_prompt": seconds / (num_prompts - 1),
        "tokens_per_second": tokens / seconds,
    }
