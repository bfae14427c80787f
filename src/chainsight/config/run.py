"""A whole run: what surrounds the stages, the model, a section a stage, the platform."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from chainsight.config.distill import DistillSection
from chainsight.config.further import AdoptSection, RftSection, VerifySection
from chainsight.config.platform import PlatformSection
from chainsight.config.promotion import PromotionSection
from chainsight.config.reading import read_yaml
from chainsight.config.section import PromptStyle, Section, validate
from chainsight.config.stages import (
    DpoSection,
    EvaluateSection,
    PairSection,
    PrepareSection,
    RegisterSection,
    SampleSection,
    SftSection,
)
from chainsight.errors import ConfigError


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
    attention: Literal["sdpa", "flex_attention", "flash_attention_2", "eager"] = "sdpa"
    """Attention kernel. flex_attention is compiled, and trains on a GPU only; flash_attention_2
    trains on a GPU in bfloat16; eager is to compare with. Answers are drawn by a kernel of their
    own, whichever this is."""
    gradient_checkpointing: bool = False
    """Trade compute for memory; the paper's 8B runs need it."""
    prompt_style: PromptStyle = "paper"
    """Whose words it is asked in, from training to evaluation (docs/prompts.md)."""

    @model_validator(mode="after")
    def _kernel_takes_the_precision(self) -> "ModelSection":
        if self.attention == "flash_attention_2" and self.dtype != "bfloat16":
            raise ValueError(
                f"attention: flash_attention_2 does not compute in {self.dtype}; write dtype: "
                "bfloat16, or attention: sdpa"
            )
        return self


class RunConfig(Section):
    """A complete run, one section a stage, and the cluster it runs on."""

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
    verify: VerifySection = VerifySection()
    adopt: AdoptSection = AdoptSection()
    rft: RftSection = RftSection()
    promotion: PromotionSection = PromotionSection()
    platform: PlatformSection = PlatformSection()

    @model_validator(mode="after")
    def _one_champion(self) -> "RunConfig":
        """What `register` compares with is what `promotion` promotes: said once, known to both."""
        register, production = self.register_, self.promotion.production_name
        if production is None:
            return self
        if register.champion_name not in (None, production):
            raise ValueError(
                f"register.champion_name {register.champion_name!r} is not "
                f"promotion.production_name {production!r}; leave the former out"
            )
        section = register.model_copy(update={"champion_name": production})
        object.__setattr__(self, "register_", section)  # frozen for others
        return self

    def champion_model(self) -> str:
        """The registered model whose alias `champion` production follows."""
        return self.register_.champion_name or self.register_.model_name

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
    raw = read_yaml(path, "configuration", "sections (run:, prepare:, ...)")
    if isinstance(raw.get("run"), str):
        raise ConfigError(
            f"{path} is an ablation of the run {raw['run']}: for chainsight ablate, and for "
            "chainsight report --paper"
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
