"""What models are asked: the paper's templates (arXiv 2410.16198 and its public code).

`question` lays out a question and finds the places of its pictures; `student` words it for the
model that learns, in the paper's way or in that of a peer (`styles`); `teacher` asks for a
rationale.
"""

from chainsight.prompts.question import (
    PLACEHOLDER,
    Segment,
    layout_choices,
    question_block,
    segments,
    short_answer,
)
from chainsight.prompts.student import SUFFIXES, student_prompt, system_prompt, target
from chainsight.prompts.styles import MARKER, STYLES, SYSTEM, Style, Wording
from chainsight.prompts.teacher import TEACHER_SYSTEM, teacher_prompt, teacher_system

__all__ = [
    "MARKER",
    "PLACEHOLDER",
    "STYLES",
    "SUFFIXES",
    "SYSTEM",
    "TEACHER_SYSTEM",
    "Segment",
    "Style",
    "Wording",
    "layout_choices",
    "question_block",
    "segments",
    "short_answer",
    "student_prompt",
    "system_prompt",
    "target",
    "teacher_prompt",
    "teacher_system",
]
