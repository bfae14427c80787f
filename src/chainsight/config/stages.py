"""The sections of the stages, in the order of the pipeline."""

from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from chainsight.config import trainer
from chainsight.config.generic import GenericSource
from chainsight.config.section import Count, NonNegative, Positive, PromptStyle, Rate, Section

Use = Literal["examples", "benchmarks"]
"""What a source is read for: the field of `prepare` that lists it."""


class Source(Section):
    """One dataset split to read."""

    dataset: str | None = None
    """A name in `chainsight.datasets.DATASETS`; none: `generic` describes the dataset."""
    generic: GenericSource | None = None
    """A dataset of your own, without code."""
    split: str = "train"
    """Split of the dataset; the dataset's file lists them."""
    source: str | None = None
    """Hub id, local folder or `s3://` prefix of the files; none: the dataset's hub id."""
    images: str | None = None
    """Folder or `s3://` prefix that the images' paths are below, where rows name their images and
    these lie elsewhere; none: the source's own."""
    revision: str | None = None
    """Hub revision; none: the one that the dataset's file pins."""
    limit: Count | None = None
    """Take this many rows at most, from the start; none: all."""
    _owners: dict[str, str] = PrivateAttr(default_factory=dict)

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.generic.name if self.generic else str(self.dataset)

    def owner(self, known: str) -> str:
        """Who has the repositories of the hub owner `known` now (`prepare.owners`)."""
        return self._owners.get(known, known)

    @model_validator(mode="after")
    def _one_dataset(self) -> "Source":
        if (self.dataset is None) == (self.generic is None):
            raise ValueError("write either dataset, a name, or generic, a description of your own")
        if self.generic and not self.source:
            raise ValueError(
                "a generic dataset needs source: a folder, an s3:// prefix or a hub id"
            )
        return self


class PrepareSection(Section):
    """Datasets to examples and benchmarks."""

    examples: tuple[Source, ...] = Field(min_length=1)
    """Training questions."""
    benchmarks: tuple[Source, ...] = Field(min_length=1)
    """Held-out questions. A training image that occurs here is dropped from the examples."""
    owners: dict[str, str] = Field(default_factory=dict)
    """Hub owners that have other names: `{lmms-lab: lmms-lab-encoder}`. Datasets without a `source`
    are read from the new owner, at the same pinned commits."""
    max_quarantine_rate: Rate = 0.05
    """Fail when a larger share of source rows is bad (ours)."""
    max_image_pixels: Count = 50_000_000
    """Larger images are quarantined: a 30,000 x 30,000 picture would need 2.7 GB decoded."""
    leaks: Literal["drop", "fail"] = "drop"
    """What becomes of a training row whose image or question is in a benchmark; `fail` is for data
    that are published as clean."""
    duplicates: Literal["drop", "keep"] = "drop"
    """What becomes of a training row that repeats another one; `keep` is for data that hold several
    rationales of a question on purpose."""

    @model_validator(mode="after")
    def _tell_the_owners(self) -> "PrepareSection":
        for source in (*self.examples, *self.benchmarks):
            source._owners = self.owners
        return self


class TrainingSection(Section):
    """What SFT and DPO have in common."""

    tuning: Literal["full", "lora"] = "full"
    """Train all weights, as the paper does, or low-rank adapters that are merged at the end."""
    lora_rank: Count = 64
    """Rank of the adapters (ours)."""
    lora_alpha: Count = 128
    """Scale of the adapters (ours)."""
    lora_save: Literal["merged", "adapter"] = "merged"
    """Write whole weights, or the adapters alone: a hundredth of the size, but of no use without
    the very base they were trained on, which then has to be kept."""
    epochs: Positive = 1.0
    """Passes over the data."""
    max_steps: Count | None = None
    """Optimizer steps at most; none: all of `epochs`."""
    batch_size: Count = 32
    """Rows per optimizer step, over all devices."""
    device_batch_size: Count = 4
    """Rows per forward pass on one device, on average: what shares a prompt stays together, and
    passes are evened out by their tokens."""
    share: Literal["picture", "question", "pair", "nothing"] = "picture"
    """Rows whose prompt is computed once, up to 8: those of one picture, those of one question, or
    none. They go to one optimizer step, which so has fewer prompts than rows; its loss and its
    gradient are those of the same rows apart. `nothing` draws row by row, as the paper did."""
    warmup_ratio: Rate = 0.03
    """Share of the steps with a rising learning rate; then cosine to zero."""
    weight_decay: NonNegative = 0.0
    """AdamW's weight decay."""
    max_grad_norm: Positive = 1.0
    """Gradient clipping (the trainer's default)."""
    save_every_steps: Count = 200
    """Steps between checkpoints for resume (ours)."""
    trainer: dict[str, Any] = Field(default_factory=dict)
    """Further arguments of TRL's SFTConfig and DPOConfig (`chainsight.config.trainer` lists those
    that have a meaning here, and says why others have none)."""

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingSection":
        trainer.check(self.trainer, frozenset(type(self).model_fields))
        if self.lora_save == "adapter" and self.tuning != "lora":
            raise ValueError("lora_save: adapter needs tuning: lora, for there is none otherwise")
        return self


class SftSection(TrainingSection):
    """Examples and rationales to a policy."""

    composition: Literal["format", "direct", "reasoned", "both"] = "both"
    """Which answers to learn (paper, compositions 1 to 4): of a few examples both, and all
    requests of kind instruct (format); beside them all short ones (direct), all rationales
    (reasoned), or both."""
    format_rows: Annotated[int, Field(ge=0)] = 50
    """Examples of each dataset that teach the format of both modes (paper: 50)."""
    direct_ratio: Rate = 1.0
    """Share of each dataset's examples whose short answer is learned, where the composition has
    them; drawn by the seed, so that a smaller share is part of a larger one."""
    reasoned_ratio: Rate = 1.0
    """Share of each dataset's rationales that are learned, likewise."""
    learning_rate: Positive = 5e-6
    """Of the language model and the projector."""
    vision_learning_rate: NonNegative = 5e-7
    """Of the vision tower; 0 freezes it."""
    max_length: Count = 6144
    """Longest row, in tokens, image included; longer rows are dropped and counted, never cut."""

    @model_validator(mode="after")
    def _no_pairs(self) -> "SftSection":
        if self.share == "pair":
            raise ValueError("share: pair is for dpo; write picture, question or nothing")
        return self


class SampleSection(Section):
    """A policy to candidates."""

    source: Literal["policy", "published"] = "policy"
    """`policy` samples; `published` takes the chosen and rejected chains that the examples bring
    along (dataset sharegpt4o_dpo), and loads no model."""
    engine: Literal["transformers", "vllm"] = "transformers"
    """Who samples from the policy; vllm needs a GPU and an image that has it (docs/images.md)."""
    num_candidates: Annotated[int, Field(ge=2, le=1024)] = 32
    """Chains of thought per question."""
    temperature: Positive = 1.0
    """The paper uses 1.0 and 1.2."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Nucleus (not published; 1.0 means none)."""
    max_new_tokens: Count = 512
    """Longest chain (not published)."""
    batch_size: Count = 8
    """Questions at a time; others join when their candidates have ended. At 8B (128 KiB a token)
    one takes 0.4 GB for its prompt and 0.6 GB for 32 candidates of 150 tokens: 32 fit on 80 GB
    beside the weights. vLLM keeps its own account of memory: 64 or more keep it busy."""
    limit: Count | None = None
    """Sample for this many questions at most, evenly over the datasets; none: all examples."""
    datasets: tuple[str, ...] | None = None
    """Only questions of these datasets; the paper takes A-OKVQA, ChartQA and mathematics."""


class PairSection(Section):
    """Candidates to preference pairs."""

    min_accuracy: Rate = 0.25
    """Questions that the policy answers more rarely are left out (paper, preference data)."""
    max_accuracy: Rate = 0.85
    """Questions that the policy answers more often are left out (paper, preference data)."""
    max_pairs: Count = 3
    """Pairs per question."""
    teacher_as_chosen: bool = False
    """Where no sampled chain is right, take the teacher's rationale as the chosen one."""

    @model_validator(mode="after")
    def _band(self) -> "PairSection":
        if self.min_accuracy > self.max_accuracy:
            raise ValueError(
                f"min_accuracy {self.min_accuracy} is above max_accuracy {self.max_accuracy}"
            )
        return self


class DpoSection(TrainingSection):
    """Pairs to an aligned model."""

    learning_rate: Positive = 5e-7
    """Of the language model; vision tower and projector are frozen."""
    share: Literal["picture", "question", "pair", "nothing"] = "question"
    """Pairs whose prompt is computed once, and each of their responses, up to 8 pairs: those of one
    picture, those of one question, or each pair by itself. They go to one optimizer step: of 32
    pairs, at 3 a question, that has 11 questions; its loss and its gradient are those of the same
    pairs apart. `pair` draws pair by pair, as the paper did; `nothing`, too, and computes the
    prompt for each response."""
    reference: Literal["auto", "cache", "adapter", "model"] = "auto"
    """What the policy is compared with: scores of all responses, made before the first step and
    kept (cache); the policy with its adapters switched off (adapter, for tuning: lora); a second
    model in memory (model). auto: adapter for one epoch of lora, else cache."""
    beta: Positive = 0.1
    """Strength of the pull towards the reference policy."""
    max_words: Annotated[int, Field(ge=0)] = 90
    """Both responses are cut to this many whitespace words; 0: no cut (paper, truncation)."""
    token_weights: Literal["none", "cos", "linear"] = "none"  # noqa: S105 - no password
    """Weights along the response; the public code has cos and linear as alternatives to the cut."""
    dpo_weight: NonNegative = 1.0
    """Weight of the DPO loss (paper: 1; MPO, arXiv 2411.10442: 0.8)."""
    bco_weight: NonNegative = 0.0
    """Weight of the BCO loss, which judges both responses by themselves (paper: 0; MPO: 0.2)."""
    sft_weight: NonNegative = 0.0
    """Weight of the chosen response's token-mean cross entropy, cut as `max_words` says (paper: 0;
    MPO: 1)."""

    @model_validator(mode="after")
    def _compares(self) -> "DpoSection":
        if not self.dpo_weight and not self.bco_weight:
            raise ValueError(
                "dpo_weight and bco_weight are both 0, so nothing would be learned from a pair's "
                "rejected response; set one of them, or train by stage rft"
            )
        return self

    @model_validator(mode="after")
    def _has_a_reference(self) -> "DpoSection":
        if self.reference == "adapter" and self.tuning != "lora":
            raise ValueError(
                "reference: adapter switches adapters off, and tuning: full has none; write cache, "
                "or model if there is memory for a second one"
            )
        if self.reference == "model" and self.tuning == "lora":
            raise ValueError(
                "reference: model needs no second model with tuning: lora: with its adapters "
                "switched off the policy is the reference; write adapter"
            )
        return self


class EvaluateSection(Section):
    """Models to predictions and scores."""

    modes: tuple[Literal["direct", "cot"], ...] = Field(("direct", "cot"), min_length=1)
    """How to ask."""
    prompt_style: PromptStyle | None = None
    """Whose words to ask in; none: `model.prompt_style`."""
    include_base: bool = True
    """Evaluate the untrained base model beside policy and aligned."""
    models: dict[str, str] = Field(default_factory=dict)
    """More models by name: a folder, a hub id, `models:/NAME@ALIAS`."""
    max_new_tokens: Count = 512
    """Longest chain of thought (not published)."""
    max_direct_tokens: Count = 32
    """Longest direct answer (lmms-eval's bound for DocVQA)."""
    batch_size: Count = 16
    """Answers at a time, of the longest mode; a quarter more at most. No answer depends on it in
    float32."""


class GateSection(Section):
    """When a candidate may become challenger (docs/gate.md)."""

    mode: Literal["direct", "cot"] = "cot"
    """The mode whose answers are compared."""
    min_gain: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.0
    """Required gain over the champion, 0 to 1, on the same examples; the plain mean over the
    benchmarks, as in the paper's tables. 0: any gain, if it is proven."""
    confidence: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.95
    """One-sided confidence of every test: that the gain exceeds `min_gain`, that a loss or a rise
    is one (the usual level)."""
    max_loss: Rate = 0.02
    """Largest loss on any single benchmark, 0 to 1. A larger one refuses if it is no chance; two
    points are what a reader of the tables would call the same (ours)."""
    max_unparsed_rate: Rate = 0.2
    """Largest share of answers that nobody can read (no marker, cut off, empty), champion or not.
    A model after SFT stays near 0; one that never learnt the format near 1 (ours)."""
    max_unparsed_rise: Rate = 0.02
    """Largest rise of that share over the champion's, 0 to 1; a larger one refuses if it is no
    chance. A gain that costs the format breaks whoever reads the answers (ours)."""
    max_length_ratio: Positive = 1.5
    """Largest mean number of tokens an answer, as a multiple of the champion's. DPO rewards length;
    answers half as long again cost half as much again to serve (ours)."""


MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$"


class RegisterSection(Section):
    """An aligned model to a version in the MLflow registry."""

    model_name: Annotated[str, Field(pattern=MODEL_NAME)] = "chainsight"
    """Registered model."""
    champion_name: Annotated[str, Field(pattern=MODEL_NAME)] | None = None
    """Registered model that holds the champion; none: `promotion.production_name` if that is set,
    else `model_name`."""
    gate: GateSection = GateSection()
    """The comparison with the champion."""
    promote_first: bool = True
    """Make the first version that passes the champion; later ones are promoted by people. Not
    where the champion is in another registered model, which trainers may not edit."""
