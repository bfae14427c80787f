"""The sections of what is run on demand: verification, and the settings that ablations compare."""

from typing import Annotated, Literal

from pydantic import Field

from chainsight.config.section import Count, Positive, Rate, Section
from chainsight.config.stages import SftSection


class VerifySection(Section):
    """Many answers to each benchmark question, judged by the models' own preference."""

    engine: Literal["transformers", "vllm"] = "transformers"
    """Who draws (`sample.engine`)."""
    drawn_by: Literal["aligned", "policy"] = "aligned"
    """The model that answers. Rewards of what the aligned model draws itself lean upwards, most so
    where it is wrong; of what the policy draws they do not (docs/log.md, verification)."""
    num_candidates: Annotated[int, Field(ge=2, le=1024)] = 16
    """Chains of thought per question (paper: up to 64)."""
    temperature: Positive = 1.0
    """Of the draws (not published)."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Nucleus (not published; 1.0 means none)."""
    max_new_tokens: Count = 512
    """Longest chain (not published)."""
    batch_size: Count = 8
    """Questions at a time."""
    limit: Count | None = None
    """Judge answers to this many questions at most, from all over the benchmarks; none: all."""
    beta: Positive = 0.1
    """Of the DPO that made the aligned model (`dpo.beta`): in weighted voting an answer counts
    exp(beta x reward)."""
    max_words: Count = 90
    """Words at the beginning that the truncated reward looks at: those that DPO has learned from
    (`dpo.max_words`)."""


class AdoptSection(Section):
    """Candidates to rationales: right chains of the policy's own (STaR, RFT)."""

    min_accuracy: Rate = 0.0
    """Questions that the policy answers more rarely are left out: their right chains may be luck
    (0 in the paper)."""
    max_accuracy: Rate = 1.0
    """Questions that the policy answers more often are left out (1 in the paper)."""


class RftSection(SftSection):
    """The policy learns its own right chains (paper, appendix on RFT)."""

    composition: Literal["format", "direct", "reasoned", "both"] = "reasoned"
    """Which answers to learn, with the policy's own chains for rationales (`sft.composition`)."""
    format_rows: Annotated[int, Field(ge=0)] = 0
    """Examples of each dataset that keep the format of both modes, with the chains that the policy
    was first taught, and all requests of kind instruct; 0: none (paper: RFT), 50: as in the format
    data (paper: RFT+Format)."""
