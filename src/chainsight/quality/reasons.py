"""Why a rationale is set aside, in the order in which it is looked for."""

PAPER = {
    "failed": "the teacher gave no answer",
    "unpublished": "the example brings no published rationale",
    "filtered": "the teacher's provider cut it off or would not answer (content policy)",
    "unanswerable": "the teacher will never take the question, such as for its image",
    "refusal": "the teacher declined to answer",
    "truncated": "the answer was cut at the token limit (distill.max_tokens)",
    "empty": "no reasoning, or nothing after the marker",
    "no_marker": "it does not end with the marker and its answer",
    "mismatch": "it ends in another answer than the annotation",
    "minority": "fewer than half of the samples end in the annotated answer",
}
"""What the paper's filter sets aside: there is no rationale that ends in the right answer."""

FURTHER = {
    "too_short": "the right answer, but fewer words than distill.filter.min_words",
    "too_long": "the right answer, but more words than distill.filter.max_words",
    "repetitive": "the right answer, but more repeats than distill.filter.max_repetition",
    "answer_first": "the right answer, but it begins with it (distill.filter.answer_first)",
    "disagrees": "the right answer, but too few of its numbers are in the chart's table "
    "(distill.filter.min_agreement)",
}
"""What `distill.filter` sets aside of rationales that end in the right answer."""

REASONS = PAPER | FURTHER
"""All of them, in words."""

ASKED_AGAIN = REASONS.keys() - {"failed", "unpublished", "filtered", "unanswerable"}
"""What another question may mend: the answer came, and is not what is wanted. A question without
an answer has been tried again already, and a provider that filters a picture does so again."""

UNANSWERED = frozenset(("failed", "unpublished", "unanswerable"))
"""Where there is no answer that could have been good, or cost anything that we know of."""
