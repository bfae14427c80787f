"""Answers of a model, greedy or drawn: each prompt is computed once for all its candidates.

Letters in shapes: R rows (prompts times candidates), S tokens, V vocabulary.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.template import Prompt, Row

SHRINK_BELOW = 0.75
"""Finished rows are dropped from the batch when the share of live ones falls below this."""


@dataclass(frozen=True)
class Generated:
    """One answer."""

    text: str
    num_tokens: int
    """Tokens drawn, the end-of-turn included."""
    logprob: float
    """Sum of the tokens' log-probabilities at temperature 1, in nats."""
    truncated: bool
    """No end-of-turn came within the allowed tokens."""


def generate(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    num_candidates: int = 1,
    seed: int = 0,
) -> list[list[Generated]]:
    """Answer `prompts` as one batch (the caller cuts batches): `num_candidates` each, in order.

    Temperature 0 is greedy. Candidate k of a prompt draws its own uniform numbers, a function of
    (seed, prompt.key, k) alone, and inverts the distribution with them: what else is in the batch
    changes logits by rounding at most.

    Raises:
        RecordError: a picture is refused.
    """
    return continue_rows(
        loaded,
        [loaded.template.row(prompt) for prompt in prompts],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        num_candidates=num_candidates,
        seed=seed,
    )


def continue_rows(
    loaded: Loaded,
    rows: Sequence[Row],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    num_candidates: int = 1,
    seed: int = 0,
) -> list[list[Generated]]:
    """As `generate`, of prompts that are tokenised already."""
    if not rows:
        return []
    uniforms = None
    if temperature > 0:
        uniforms = torch.stack(
            [
                _uniforms(seed, row.key, k, max_new_tokens)
                for row in rows
                for k in range(num_candidates)
            ]
        ).to(loaded.device)
    with torch.inference_mode():
        decoding = _Decoding(loaded, rows, num_candidates, max_new_tokens)
        for step in range(max_new_tokens):
            draws = None if uniforms is None else uniforms[decoding.rows, step]
            decoding.append(choose(decoding.logits, draws, temperature, top_p))
            if step + 1 == max_new_tokens or not decoding.advance():
                break
    answers = decoding.answers()
    return [answers[i : i + num_candidates] for i in range(0, len(answers), num_candidates)]


def choose(
    logits: torch.Tensor, uniforms: torch.Tensor | None, temperature: float, top_p: float
) -> torch.Tensor:
    """The next token of each row, [R], from logits [R, V] and uniform numbers [R] in [0, 1).

    Without uniforms the most likely one. With them the first token at which the cumulative
    distribution exceeds the number; `top_p` below 1 keeps the fewest most likely tokens whose
    mass reaches it.
    """
    if uniforms is None:
        return logits.argmax(-1)
    probabilities = (logits.double() / temperature).softmax(-1)
    if top_p < 1:
        ordered, index = probabilities.sort(descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        kept = torch.where(before < top_p, ordered, 0.0)
        return index.gather(-1, _invert(kept, uniforms)[:, None])[:, 0]
    return _invert(probabilities, uniforms)


def _invert(masses: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """First index whose cumulative mass exceeds the uniform share of the total, [R]."""
    cumulative = masses.cumsum(-1)
    target = uniforms[:, None] * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, target, right=True)[:, 0]
    last = (masses > 0).cumsum(-1).argmax(-1)  # a target may round up to the total
    return torch.minimum(found, last)


def _uniforms(seed: int, key: str, candidate: int, count: int) -> torch.Tensor:
    digest = hashlib.sha256(f"{seed}\0{key}\0{candidate}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.rand(count, generator=generator, dtype=torch.float64)


class _Decoding:
    """The live rows of a batch: their KV cache, next logits and what they wrote so far."""

    def __init__(
        self, loaded: Loaded, rows: Sequence[Row], num_candidates: int, max_new_tokens: int
    ) -> None:
        self.loaded = loaded
        self.ends = torch.tensor(loaded.end_ids, device=loaded.device)
        batch = {k: v.to(loaded.device) for k, v in loaded.template.collate(rows).items()}
        del batch["labels"]
        if "pixel_values" in batch:
            batch["pixel_values"] = batch["pixel_values"].to(loaded.model.dtype)
        output = loaded.model(**batch, use_cache=True, logits_to_keep=1)
        self.cache = output.past_key_values
        self.cache.batch_repeat_interleave(num_candidates)
        self.logits = output.logits[:, -1].float().repeat_interleave(num_candidates, 0)
        self.mask = batch["attention_mask"].repeat_interleave(num_candidates, 0)
        positions = batch["position_ids"].reshape(loaded.family.axes, len(rows), -1)
        self.position = (positions.amax((0, 2)) + 1).repeat_interleave(num_candidates)  # [R]
        total = len(rows) * num_candidates
        self.rows = torch.arange(total, device=loaded.device)  # live rows' places in the whole
        self.tokens = torch.full((total, max_new_tokens), -1, device=loaded.device)
        self.logprobs = torch.zeros(total, dtype=torch.float64, device=loaded.device)
        self.ended = torch.zeros(total, dtype=torch.bool, device=loaded.device)
        self.step = 0

    def append(self, tokens: torch.Tensor) -> None:
        """Write each live row's next token, unless the row has ended."""
        live = ~self.ended[self.rows]
        gained = self.logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0]
        self.tokens[self.rows, self.step] = torch.where(live, tokens, -1)
        self.logprobs[self.rows] += torch.where(live, gained, 0.0).double()
        self.ended[self.rows] |= torch.isin(tokens, self.ends)

    def advance(self) -> bool:
        """Compute the next logits; False when every row has ended."""
        live = (~self.ended[self.rows]).nonzero()[:, 0]
        if not len(live):
            return False
        if len(live) < SHRINK_BELOW * len(self.rows):
            self._keep(live)
        tokens = self.tokens[self.rows, self.step].clamp(min=0)  # ended rows idle on token 0
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.rows), 1)], 1)
        output = self.loaded.model(
            input_ids=tokens[:, None],
            attention_mask=self.mask,
            position_ids=self.loaded.family.decoding_positions(self.position),
            past_key_values=self.cache,
            use_cache=True,
        )
        self.logits = output.logits[:, -1].float()
        self.position = self.position + 1
        self.step += 1
        return True

    def _keep(self, live: torch.Tensor) -> None:
        self.cache.batch_select_indices(live)
        self.rows, self.mask = self.rows[live], self.mask[live]
        self.position = self.position[live]

    def answers(self) -> list[Generated]:
        """What each row wrote, in order."""
        ends = set(self.loaded.end_ids)
        made = []
        written = zip(
            self.tokens.tolist(), self.logprobs.tolist(), self.ended.tolist(), strict=True
        )
        for tokens, logprob, ended in written:
            ids = [token for token in tokens if token >= 0]
            said = [token for token in ids if token not in ends]
            text = self.loaded.template.tokenizer.decode(said, skip_special_tokens=True)
            made.append(Generated(text, len(ids), logprob, not ended))
        return made
