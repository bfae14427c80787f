"""The KFP face of the stages: one file a stage, no logic (architecture: idea 3)."""

from components.collect import collect
from components.distill import distill
from components.doctor import doctor
from components.dpo import dpo
from components.evaluate import evaluate
from components.existing import existing
from components.node import node
from components.pair import pair
from components.prepare import prepare
from components.register import register
from components.sample import sample
from components.score import score
from components.sft import sft
from components.summarize import summarize
from components.verification import verification
from components.verify import verify

__all__ = [
    "collect",
    "distill",
    "doctor",
    "dpo",
    "evaluate",
    "existing",
    "node",
    "pair",
    "prepare",
    "register",
    "sample",
    "score",
    "sft",
    "summarize",
    "verification",
    "verify",
]
