"""The configuration of a run: closed, typed, each field documented where it stands.

Every default is the paper's published number (arXiv 2410.16198) or says whose it is.
Sections carry the stages' names; `run` and `model` are shared.
"""

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from chainsight.errors import ConfigError

Rate = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]


class Section(BaseModel):
    """A closed part of the configuration: an unknown key is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=()
    )


S = TypeVar("S", bound=Section)


class RunSection(Section):
    """What surrounds the stages."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$")] = "chainsight"
    """Name of the run: lower case, digits and dashes, at most 48 characters (a DNS label)."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of every random choice: data order, sampling, pairing."""
    home: str = ".chainsight"
    """Local folder for what is no artifact: checkpoints, the paid ledger, caches, reports."""
    store: str | None = None
    """Where artifacts live: a folder or `s3://bucket/prefix`; none: `<home>/store`."""
    tracking_uri: str | None = None
    """MLflow server or database, or `none`; unset: `MLFLOW_TRACKING_URI`, else SQLite in `home`."""
    experiment: str = "chainsight"
    """MLflow experiment."""

    def store_uri(self) -> str:
        return self.store or str(Path(self.home).absolute() / "store")

    def mlflow_uri(self) -> str:
        default = f"sqlite:///{Path(self.home).absolute() / 'mlflow.db'}"
        return self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or default

    def report_folder(self) -> Path:
        return Path(self.home) / "reports" / self.name


class ModelSection(Section):
    """The model that learns."""

    base: str = "builtin:tiny"
    """`builtin:tiny` (ships with Chainsight), a local checkpoint folder or a hub id."""
    revision: str | None = None
    """Pinned hub revision; none for folders."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of weights and activations; the paper trains in bfloat16 (its script)."""
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    """Attention kernel; flash_attention_2 needs a GPU and its package."""
    gradient_checkpointing: bool = False
    """Trade compute for memory; the paper's 8B runs need it."""


class Source(Section):
    """One dataset split to read."""

    dataset: str
    """A name in `chainsight.datasets.DATASETS`."""
    split: str = "train"
    """Split of the dataset; the dataset's file lists them."""
    source: str | None = None
    """Hub id, local folder or `s3://` prefix of Parquet files; none: the dataset's hub id."""
    revision: str | None = None
    """Hub revision; none: the one that the dataset's file pins."""
    limit: Count | None = None
    """Take this many rows at most, from the start; none: all."""


class PrepareSection(Section):
    """Datasets to examples and benchmarks."""

    examples: tuple[Source, ...] = Field(min_length=1)
    """Training questions."""
    benchmarks: tuple[Source, ...] = Field(min_length=1)
    """Held-out questions. A training image that occurs here is dropped from the examples."""
    max_quarantine_rate: Rate = 0.05
    """Fail when a larger share of source rows is bad (ours)."""
    max_image_pixels: Count = 50_000_000
    """Larger images are quarantined: a 30,000 x 30,000 picture would need 2.7 GB decoded."""


class Price(Section):
    """What a teacher charges, in US dollars per million tokens."""

    prompt: NonNegative = 5.0
    """Input tokens; gpt-4o-2024-05-13's list price."""
    completion: NonNegative = 15.0
    """Output tokens; gpt-4o-2024-05-13's list price."""


class DistillSection(Section):
    """Examples to the teacher's rationales."""

    teacher: str = "openai"
    """`openai`, `scripted` (the stand-in, started for the stage) or a base URL that ends in /v1."""
    teacher_model: str = "gpt-4o-2024-05-13"
    """The teacher's name at its endpoint (the paper used this one)."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable that holds the key; the key itself is never stored."""
    concurrency: Annotated[int, Field(ge=1, le=512)] = 16
    """Requests in flight; a killed run pays at most this many answers twice."""
    max_tokens: Annotated[int, Field(ge=16, le=16384)] = 1024
    """Longest answer, in tokens (ours; not published)."""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    """Sampling temperature of the teacher (ours; not published)."""
    timeout_seconds: Positive = 120.0
    """A request without an answer for this long is tried again."""
    max_retries: Annotated[int, Field(ge=0, le=20)] = 6
    """Tries after the first on 429, 5xx, time-outs and broken connections."""
    image_max_side: Count = 1024
    """Longest side sent, in pixels, Lanczos, JPEG (paper, distillation)."""
    price: Price = Price()
    """For the cost of each row."""
    budget_usd: Positive | None = None
    """Stop before asking for more once this much has been spent; none: no limit."""
    max_failed_rate: Rate = 0.05
    """Fail when a larger share of questions got no answer at all."""
    scripted_error_rate: Rate = 0.1
    """Share of wrong rationales of the scripted teacher, so that the filter has work."""

    @model_validator(mode="after")
    def _known_teacher(self) -> "DistillSection":
        named = self.teacher in ("openai", "scripted")
        if not named and not self.teacher.startswith(("http://", "https://")):
            raise ValueError(
                f"teacher is {self.teacher!r}; write openai, scripted or a base URL (http...)"
            )
        return self


class TrainingSection(Section):
    """What SFT and DPO have in common."""

    tuning: Literal["full", "lora"] = "full"
    """Train all weights, as the paper does, or low-rank adapters that are merged at the end."""
    lora_rank: Count = 64
    """Rank of the adapters (ours)."""
    lora_alpha: Count = 128
    """Scale of the adapters (ours)."""
    epochs: Positive = 1.0
    """Passes over the data."""
    max_steps: Count | None = None
    """Optimizer steps at most; none: all of `epochs`."""
    batch_size: Count = 32
    """Rows per optimizer step, over all devices."""
    device_batch_size: Count = 4
    """Rows per forward pass on one device; must divide `batch_size`."""
    warmup_ratio: Rate = 0.03
    """Share of the steps with a rising learning rate; then cosine to zero."""
    weight_decay: NonNegative = 0.0
    """AdamW's weight decay."""
    max_grad_norm: Positive = 1.0
    """Gradient clipping (the trainer's default)."""
    save_every_steps: Count = 200
    """Steps between checkpoints for resume (ours)."""

    @model_validator(mode="after")
    def _divisible(self) -> "TrainingSection":
        if self.batch_size % self.device_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of device_batch_size "
                f"{self.device_batch_size}; change one of them"
            )
        return self


class SftSection(TrainingSection):
    """Examples and rationales to a policy."""

    targets: tuple[Literal["direct", "cot"], ...] = Field(("direct", "cot"), min_length=1)
    """Which answers to learn from; the paper's composition 4 mixes both."""
    learning_rate: Positive = 5e-6
    """Of the language model and the projector."""
    vision_learning_rate: NonNegative = 5e-7
    """Of the vision tower; 0 freezes it."""
    max_length: Count = 6144
    """Longest row, in tokens, image included; longer rows are dropped and counted, never cut."""


class SampleSection(Section):
    """A policy to candidates."""

    num_candidates: Annotated[int, Field(ge=2, le=1024)] = 32
    """Chains of thought per question."""
    temperature: Positive = 1.0
    """The paper uses 1.0 and 1.2."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """Nucleus (not published; 1.0 means none)."""
    max_new_tokens: Count = 512
    """Longest chain (not published)."""
    batch_size: Count = 8
    """Questions at a time."""
    limit: Count | None = None
    """Sample for this many questions at most; none: all examples."""
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
    beta: Positive = 0.1
    """Strength of the pull towards the reference policy."""
    max_words: Annotated[int, Field(ge=0)] = 90
    """Both responses are cut to this many whitespace words; 0: no cut (paper, truncation)."""
    token_weights: Literal["none", "cos", "linear"] = "none"  # noqa: S105 - no password
    """Weights along the response; the public code has cos and linear as alternatives to the cut."""
    sft_weight: NonNegative = 0.0
    """Weight of the chosen response's token-mean cross entropy (0 in the paper)."""


class EvaluateSection(Section):
    """Models to predictions and scores."""

    modes: tuple[Literal["direct", "cot"], ...] = Field(("direct", "cot"), min_length=1)
    """How to ask."""
    include_base: bool = True
    """Evaluate the untrained base model beside policy and aligned."""
    models: dict[str, str] = {}
    """More models by name: a folder, a hub id, `models:/NAME@ALIAS`."""
    max_new_tokens: Count = 512
    """Longest chain of thought (not published)."""
    max_direct_tokens: Count = 32
    """Longest direct answer (lmms-eval's bound for DocVQA)."""
    batch_size: Count = 16
    """Questions at a time."""


class GateSection(Section):
    """When a candidate may become challenger."""

    mode: Literal["direct", "cot"] = "cot"
    """The mode whose answers are compared."""
    min_gain: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.0
    """Required gain over the champion, 0 to 1, on the same examples."""
    confidence: Annotated[float, Field(ge=0.5, lt=1.0)] = 0.95
    """One-sided confidence of the paired test that the gain exceeds `min_gain`."""


class RegisterSection(Section):
    """An aligned model to a version in the MLflow registry."""

    model_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")] = "chainsight"
    """Registered model."""
    gate: GateSection = GateSection()
    """The comparison with the champion."""
    promote_first: bool = True
    """Make the first version that passes the champion; later ones are promoted by people."""


class RunConfig(Section):
    """A complete run, one section a stage."""

    run: RunSection = RunSection()
    model: ModelSection = ModelSection()
    prepare: PrepareSection
    distill: DistillSection = DistillSection()
    sft: SftSection = SftSection()
    sample: SampleSection = SampleSection()
    pair: PairSection = PairSection()
    dpo: DpoSection = DpoSection()
    evaluate: EvaluateSection = EvaluateSection()
    register_: RegisterSection = Field(RegisterSection(), alias="register")

    def section(self, stage: str) -> Section:
        """The settings of the stage `stage`."""
        found: Section = getattr(self, _field(stage))
        return found


def _field(stage: str) -> str:
    return "register_" if stage == "register" else stage  # pydantic's base class has a `register`


def section_of(stage: str) -> type[Section]:
    """The type of a stage's section."""
    found = RunConfig.model_fields[_field(stage)].annotation
    assert isinstance(found, type)
    assert issubclass(found, Section)
    return found


def load_config(path: str | os.PathLike[str], overrides: dict[str, Any] | None = None) -> RunConfig:
    """Read a run configuration from YAML; `overrides` maps dotted keys to values.

    Raises:
        ConfigError: the file is missing or not YAML, or a key is unknown or out of bounds.
    """
    path = Path(path)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such configuration; see configs/ for complete ones"
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not readable as YAML: {error}") from None
    if not isinstance(raw, dict):
        raise ConfigError(
            f"{path}: expected sections (run:, prepare:, ...), found {type(raw).__name__}"
        )
    for key, value in (overrides or {}).items():
        _set(raw, key, value)
    return validate(RunConfig, raw, str(path))


def _set(raw: dict[str, Any], dotted: str, value: Any) -> None:
    *parents, last = dotted.split(".")
    for parent in parents:
        raw = raw.setdefault(parent, {})
        if not isinstance(raw, dict):
            raise ConfigError(f"--set {dotted}: {parent!r} is a value, not a section")
    raw[last] = value


def validate(section: type[S], raw: Any, where: str) -> S:
    """Check `raw` against a section.

    Raises:
        ConfigError: lists every offending key with what was found and what is allowed.
    """
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(section, problem) for problem in error.errors()]
    raise ConfigError(f"{where}: {len(lines)} problem(s)\n" + "\n".join(lines))


def _explain(section: type[Section], problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "(top)"
    if problem["type"] == "extra_forbidden":
        known = _known_keys(section, problem["loc"][:-1])
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"  {key}: unknown key; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    found = "" if problem["type"] == "missing" else f" (found {problem['input']!r})"
    return f"  {key}: {message}{found}"


def _known_keys(section: type[Section], location: tuple[Any, ...]) -> list[str]:
    node: Any = section
    for part in location:
        if isinstance(part, int):
            continue
        field = next((f for n, f in node.model_fields.items() if part in (n, f.alias)), None)
        inner = [field.annotation, *get_args(field.annotation)] if field else []
        node = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)
        if node is None:
            return []
    return [field.alias or name for name, field in node.model_fields.items()]
