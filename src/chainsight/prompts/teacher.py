"""What the teacher is asked: for the rationale of an annotated answer.

The paper doesn't publish this prompt. It says that the teacher saw image, question and short
answer, and prints the blocks by which it evaluated GPT-4o with chains of thought. Ours are those
blocks with the answer added, and with leave to contradict it, which the paper's teacher made use
of: both are inferred, and so is the rule of kind `open`, which the paper has not.
"""

from chainsight.prompts.question import question_block, short_answer
from chainsight.prompts.styles import MARKER
from chainsight.records import Example, Kind

TEACHER_SYSTEM = (
    "When provided with an image and a question, generate a rationale first and then derive an "
    "answer. Your rationale should include detailed visual elements in order to derive the answer."
)
"""The paper's system prompt for GPT-4o with chains of thought (its evaluation prompts)."""
TEXT_SYSTEM = "When provided with a question, generate a rationale first and then derive an answer."
"""Ours, for a question about no image."""

LEAVE = (
    "The annotated answer is given; if the image contradicts it, give the answer that the image "
    "supports."
)
TEXT_LEAVE = "The annotated answer is given; if the question contradicts it, give the right one."
VISUAL = (
    "Do not state an answer at the beginning. Explain descriptions of visual clue that help to "
    "derive the answer."
)
LOGIC = "Explain step by step logic to derive the answer."
CONCLUDE = f"Conclude with {MARKER} <your answer>"
OUTPUT = f"<rationale>\n\n{MARKER} <your answer>"
LETTER = "For your final answer, provide a letter choice."
PHRASE = "Your answer is a single word or phrase."

CHART_RULES = (
    "Don't include any unit, i.e. 56 instead of 56 meters",
    "Don't include '%' sign, i.e. 56 instead of 56%",
)
RULES: dict[Kind, tuple[str, ...]] = {
    "open": ("Your answer is a single word, phrase or value, without units.",),
    "document": (
        PHRASE,
        "Copy your answer from the document. Do not add or remove symbols, units, titles.",
    ),
    "scene_text": (PHRASE, "Output your answer in lower case."),
    "ocr": (PHRASE,),
}
"""What the answer must look like, by what the question is about."""


def teacher_system(example: Example) -> str:
    """The system prompt of the distillation."""
    return TEACHER_SYSTEM if example.images else TEXT_SYSTEM


def teacher_prompt(example: Example) -> str:
    """The distillation prompt; images are where `question.segments` finds them."""
    assert example.kind != "instruct", f"{example.id}: a request has no rationale"
    if example.kind == "math" or not example.images:
        return _objective(example, LOGIC, (LETTER,) if example.choices else ())
    if example.choices:
        return _instruction(example, (LETTER,))
    if example.kind == "chart":
        return _instruction(example, CHART_RULES)
    return _objective(example, VISUAL, RULES[example.kind])


def _objective(example: Example, how: str, rules: tuple[str, ...]) -> str:
    """The block of documents, scene text, OCR and mathematics, and of questions about text."""
    about, leave = (" about the image", LEAVE) if example.images else ("", TEXT_LEAVE)
    return (
        "# Objective #\n"
        f"Write a rationale that derives the answer to the question{about}. {leave}\n"
        f"# Question #\n{question_block(example.question, example.choices)}\n"
        f"# Answer #\n{short_answer(example)}\n"
        f"# Rationale Requirement #\n{_numbered(how, CONCLUDE, *rules)}\n"
        f"# Output Style #\n{OUTPUT}"
    )


def _instruction(example: Example, rules: tuple[str, ...]) -> str:
    """The block of multiple choice and of charts."""
    first = "Generate a rationale first and then derive an answer."
    return (
        "Answer the question with following instruction:\n"
        f"{_numbered(first, *rules, LEAVE)}\n"
        f"Question: {question_block(example.question, example.choices)}\n"
        f"# Answer #\n{short_answer(example)}\n"
        f"# Output Format #\n{OUTPUT}"
    )


def _numbered(*rules: str) -> str:
    return "\n".join(f"{number}. {rule}" for number, rule in enumerate(rules, 1))
