"""The configuration of a run: closed, typed, each field documented where it stands.

Every default is the paper's published number (arXiv 2410.16198) or says whose it is.
Sections carry the stages' names; `run`, `model`, `promotion` and `platform` are shared.
"""

from chainsight.config.distill import DistillSection, Filter, Place, Price
from chainsight.config.further import AdoptSection, RftSection, VerifySection
from chainsight.config.generic import Columns, GenericSource
from chainsight.config.platform import PlatformSection, Pod, Shards, Toleration
from chainsight.config.promotion import PromotionSection
from chainsight.config.run import ModelSection, RunConfig, RunSection, load_config, section_of
from chainsight.config.section import PromptStyle, Section, validate
from chainsight.config.stages import (
    DpoSection,
    EvaluateSection,
    GateSection,
    PairSection,
    PrepareSection,
    RegisterSection,
    SampleSection,
    SftSection,
    Source,
    TrainingSection,
    Use,
)

__all__ = [
    "AdoptSection",
    "Columns",
    "DistillSection",
    "DpoSection",
    "EvaluateSection",
    "Filter",
    "GateSection",
    "GenericSource",
    "ModelSection",
    "PairSection",
    "Place",
    "PlatformSection",
    "Pod",
    "PrepareSection",
    "Price",
    "PromotionSection",
    "PromptStyle",
    "RegisterSection",
    "RftSection",
    "RunConfig",
    "RunSection",
    "SampleSection",
    "Section",
    "SftSection",
    "Shards",
    "Source",
    "Toleration",
    "TrainingSection",
    "Use",
    "VerifySection",
    "load_config",
    "section_of",
    "validate",
]
