"""vLLM as the engine that draws candidates (`sample.engine: vllm`), on a GPU.

One request a question with n candidates: vLLM computes the prompt once and its candidates read
its blocks (prefix caching). Log-probabilities are not its own: `likelihood` computes them with the
model that is loaded beside it, whose memory is left to it.

vLLM pins other versions of torch and transformers than ours (0.33: torch 2.14, transformers below
5.21), so it has an environment of its own, and `vllm_worker` is the process in it.

Written against the signatures of vLLM 0.11 to 0.33. No GPU has run it here: tests give the worker
a stand-in. Its random numbers are vLLM's, so its candidates are others than those of
`transformers`, and may vary with what is computed beside them.
"""

import base64
import hashlib
import json
import os
import subprocess
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NoReturn

import torch

from chainsight.errors import ChainsightError, CheckpointError
from chainsight.vlm import checkpoint
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.files import is_adapter
from chainsight.vlm.sampling import Drawing, Generated, answer_of
from chainsight.vlm.template import Row

PYTHON = "/opt/vllm/bin/python"
"""The Python that has vLLM, where the image has one; the variable names another."""
PYTHON_VARIABLE = "CHAINSIGHT_VLLM_PYTHON"
END_SECONDS = 30.0
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
        if loaded.device.type == "cpu":
            raise ChainsightError(
                "sample.engine vllm needs a GPU; set it to transformers, which also runs on a CPU"
            )
        self._loaded, self._how, self._in_flight = loaded, how, in_flight
        python = _python()  # before whole weights are written
        self._process = _Process(
            python,
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
            said = self._process.ask(
                prompts=[request(row, self._loaded.template.image_id) for _, row in batch],
                params=[self._sampling(row) for _, row in batch],
            )
            for (number, row), answer in zip(batch, said, strict=True):
                _require_same_prompt(row, answer["prompt"])
                drawn = answer["candidates"]
                yield number, [answer_of(self._loaded, tuple(tokens)) for tokens in drawn]

    def _sampling(self, row: Row) -> dict[str, Any]:
        """The fields of `vllm.SamplingParams`."""
        how = self._how
        return {
            "n": how.num_candidates,
            "temperature": how.temperature,
            "top_p": how.top_p,
            "seed": seed_of(how.seed, row.key),
            "max_tokens": how.max_new_tokens,
            "stop_token_ids": list(self._loaded.end_ids),
            "logit_bias": {self._loaded.template.image_id: -100.0},  # it would stand for pixels
            "detokenize": False,
        }


def _python() -> str:
    found = os.environ.get(PYTHON_VARIABLE, PYTHON)
    if not Path(found).exists():
        raise ChainsightError(
            f"sample.engine is vllm, but there is no {found}; use an image with vLLM "
            f"(docs/images.md), name its Python in {PYTHON_VARIABLE}, or set sample.engine to "
            "transformers"
        )
    return found


class _Process:
    """vLLM in its own environment (`vllm_worker`); it ends when this object does."""

    def __init__(self, python: str, **options: Any) -> None:
        worker = Path(__file__).with_name("vllm_worker.py")
        self._child = subprocess.Popen(  # noqa: S603 - our own file, by the image's Python
            [python, "-P", str(worker)],  # -P: our modules beside it are none of vLLM's
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._finalizer = weakref.finalize(self, _end, self._child)
        self._write(options)

    def ask(self, **asked: Any) -> list[dict[str, Any]]:
        """A request's answers (`vllm_worker`)."""
        self._write(asked)
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            self._lost()
        answers: list[dict[str, Any]] = json.loads(line)["answers"]
        return answers

    def _write(self, content: dict[str, Any]) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(json.dumps(content) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            self._lost()

    def _lost(self) -> NoReturn:
        code = self._child.wait()
        raise ChainsightError(
            f"vLLM's process ended with exit code {code}; its messages are above. What was "
            "sampled is kept: run again, or set sample.engine to transformers"
        )


def _end(child: subprocess.Popen[str]) -> None:
    """Let the worker end by itself, as it does when its input ends."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
    try:
        child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def seed_of(seed: int, key: str) -> int:
    """A question's seed, 0 to 2^31 - 1; vLLM adds the candidate's number to it."""
    digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def request(row: Row, image_id: int) -> dict[str, Any]:
    """A prompt as the worker takes it: one placeholder a picture, which vLLM repeats itself."""
    ids: list[int] = []
    for is_image, run in groupby(row.prompt_ids, key=lambda token: token == image_id):
        ids += [image_id] if is_image else list(run)
    if ids.count(image_id) != len(row.images):
        raise ChainsightError(
            f"{row.key}: pictures stand side by side without a token between them, where vLLM "
            "could not tell one from the other; set sample.engine to transformers"
        )
    return {"ids": ids, "images": [base64.b64encode(image).decode() for image in row.images]}


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
