"""vLLM as the engine that draws candidates (`sample.engine: vllm`), on a GPU.

One request a question with n candidates: vLLM computes the prompt once and its candidates read
its blocks (prefix caching). Log-probabilities are not its own: `likelihood` computes them with the
model that is loaded beside it, whose memory is left to it.

Written against vLLM 0.11 to 0.33. No GPU has run it here: tests give it a stand-in with vLLM's
signatures. Its candidates depend on its own random numbers, so they are others than those of
`transformers`, and may vary with what is computed beside them.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch

from chainsight.errors import ChainsightError, CheckpointError
from chainsight.vlm import checkpoint
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.files import is_adapter
from chainsight.vlm.pictures import open_image
from chainsight.vlm.sampling import Drawing, Generated, answer_of
from chainsight.vlm.template import Row

SCORING_SHARE = 0.1
"""Share of the GPU's memory that is left to the pass that scores, beside the loaded model."""
LEAST_SHARE = 0.2
"""Below this share of the GPU's memory vLLM is not tried."""
MAX_IMAGES = 8
"""Pictures a question at most (MMMU has up to 7)."""


class Vllm:
    """vLLM's offline engine on the policy's files."""

    def __init__(
        self,
        loaded: Loaded,
        how: Drawing,
        *,
        in_flight: int,
        dtype: str,
        work: Path,
        memory: Callable[[torch.device], tuple[int, int]] = torch.cuda.mem_get_info,
    ) -> None:
        try:
            import vllm  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            raise ChainsightError(
                "sample.engine is vllm, but the package vllm is not installed; use an image with "
                "it (docs/images.md), or set sample.engine to transformers"
            ) from None
        if loaded.device.type == "cpu":
            raise ChainsightError(
                "sample.engine vllm needs a GPU; set it to transformers, which also runs on a CPU"
            )
        self._loaded, self._how, self._in_flight = loaded, how, in_flight
        self._params = vllm.SamplingParams
        self._llm: Any = vllm.LLM(
            model=str(_whole(loaded, work, dtype)),
            dtype=dtype,
            seed=how.seed,
            trust_remote_code=False,
            enable_prefix_caching=True,
            generation_config="vllm",  # nothing of the checkpoint's own
            limit_mm_per_prompt={"image": MAX_IMAGES},
            gpu_memory_utilization=share(*memory(loaded.device)),
        )

    def answers(self, rows: Iterable[Row]) -> Iterator[tuple[int, list[Generated]]]:
        """See `engines.Engine`; vLLM is given `in_flight` questions at a time."""
        numbered = enumerate(rows)
        while batch := list(islice(numbered, self._in_flight)):
            said = self._llm.generate(
                [request(row, self._loaded.template.image_id) for _, row in batch],
                [self._sampling(row) for _, row in batch],
                use_tqdm=False,
            )
            for (number, row), output in zip(batch, said, strict=True):
                _require_same_prompt(row, output.prompt_token_ids)
                drawn = sorted(output.outputs, key=lambda one: one.index)
                yield number, [answer_of(self._loaded, tuple(one.token_ids)) for one in drawn]

    def _sampling(self, row: Row) -> Any:
        how = self._how
        return self._params(
            n=how.num_candidates,
            temperature=how.temperature,
            top_p=how.top_p,
            seed=seed_of(how.seed, row.key),
            max_tokens=how.max_new_tokens,
            stop_token_ids=list(self._loaded.end_ids),
            logit_bias={self._loaded.template.image_id: -100.0},  # it would stand for pixels
            detokenize=False,
        )


def seed_of(seed: int, key: str) -> int:
    """A question's seed, 0 to 2^31 - 1; vLLM adds the candidate's number to it."""
    digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def request(row: Row, image_id: int) -> dict[str, Any]:
    """A prompt of tokens as vLLM takes it: one placeholder a picture, which it repeats itself."""
    ids: list[int] = []
    for is_image, run in groupby(row.prompt_ids, key=lambda token: token == image_id):
        ids += [image_id] if is_image else list(run)
    if ids.count(image_id) != len(row.images):
        raise ChainsightError(
            f"{row.key}: pictures stand side by side without a token between them, where vLLM "
            "could not tell one from the other; set sample.engine to transformers"
        )
    pictures = [open_image(image, row.key).convert("RGB") for image in row.images]
    return {"prompt_token_ids": ids} | (
        {"multi_modal_data": {"image": pictures}} if pictures else {}
    )


def _require_same_prompt(row: Row, found: Sequence[int]) -> None:
    if tuple(found) != tuple(row.prompt_ids):
        raise CheckpointError(
            f"{row.key}: vLLM makes {len(found)} tokens of a prompt of {len(row.prompt_ids)}: it "
            "prepares this checkpoint's pictures differently; set sample.engine to transformers"
        )


def _whole(loaded: Loaded, work: Path, dtype: str) -> Path:
    """The folder that vLLM loads; an adapter's model is merged already, and written there."""
    if not is_adapter(loaded.folder):
        return loaded.folder
    folder = work / "merged"
    checkpoint.save(loaded, folder, base=str(loaded.folder), kind="lora-merged", dtype=dtype)
    return folder


def share(free: int, total: int) -> float:
    """Share of the GPU's memory for vLLM, from bytes: what is free, less what scoring needs."""
    found = free / total - SCORING_SHARE
    if found < LEAST_SHARE:
        raise ChainsightError(
            f"{free / 2**30:.0f} of {total / 2**30:.0f} GiB GPU memory are free beside the model, "
            "too little for vLLM; use a larger GPU, or set sample.engine to transformers"
        )
    return round(found, 3)
