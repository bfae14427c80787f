"""The figures that the paper prints (arXiv 2410.16198, v1 and its ACL version), in per cent.

One file, so that each can be held against the paper; "-" is a figure that it does not print. Splits
and metrics are not printed either: those of `BENCHMARKS` are what the field uses
(docs/evaluation.md).
"""

from typing import Any

from chainsight.records import Mode
from chainsight.report.paper.terms import BENCHMARKS, Recipe, Row, Table

ELEVEN = tuple(BENCHMARKS)
EIGHT = ELEVEN[:8]
"""Those of the main table, and of the average over which the paper counts its gains."""
THREE = ("aokvqa", "chartqa", "mathvista")


def _row(
    columns: tuple[str, ...],
    title: str,
    recipe: Recipe | None,
    direct: str = "",
    cot: str = "",
    averages: tuple[float, ...] = (),
) -> Row:
    said: dict[Mode, str] = {"direct": direct, "cot": cot}
    cells = {mode: _figures(columns, text) for mode, text in said.items() if text}
    return Row(title, recipe, cells, dict(zip(cells, averages, strict=False)))


def _figures(columns: tuple[str, ...], text: str) -> dict[str, float]:
    figures = zip(columns, text.split(), strict=True)
    return {column: float(figure) for column, figure in figures if figure != "-"}


def sft(composition: str) -> Recipe:
    return Recipe("sft", {"sft.composition": composition})


BASE = Recipe("base")
DPO = Recipe("dpo", {"sft.composition": "both"})
STAR = Recipe("star", {"sft.composition": "direct"}, free=("sample",))


def verified(method: str, **keys: int) -> Recipe:
    """What `chainsight.analysis.voting` chooses among the DPO model's answers."""
    return Recipe("verify", {"sft.composition": "both", "method": method} | keys)


def _trained_on(recipe: str, datasets: tuple[str, ...], **more: Any) -> Recipe:
    keys = {name.replace("__", "."): value for name, value in more.items()}
    return Recipe(recipe, {"sft.composition": "both", "sample.datasets": datasets} | keys)


# --- the tables --------------------------------------------------------------------------------

_BASELINES = Table(
    "baselines",
    "Table C.1",
    "Baselines: before training, and after the format alone",
    ELEVEN,
    (
        _row(
            ELEVEN, "LLaVA-NeXT-8B", BASE,
            direct="85.9 68.6 78.4 36.6 67.2 73.0 77.4 37.3 57.7 47.8 42.8",
            cot="44.5 52.8 57.1 25.8 41.6 70.0 75.8 25.3 59.7 45.7 37.6",
            averages=(61.2, 48.7),
        ),
        _row(
            ELEVEN, "format", sft("format"),
            direct="85.8 70.2 75.7 37.7 68.2 71.5 75.4 39.3 59.1 44.7 41.8",
            cot="84.3 71.2 67.0 34.9 62.2 67.4 74.4 40.3 56.6 46.7 37.7",
            averages=(60.9, 58.4),
        ),
    ),
    layout=(Row("before training", BASE), Row("format", sft("format"))),
)  # fmt: skip

_COMPOSITIONS = Table(
    "compositions",
    "Tables 2 and 6",
    "What to learn: compositions of SFT, and DPO",
    EIGHT,
    (
        _row(
            EIGHT, "1 format", sft("format"),
            direct="85.8 70.2 75.7 37.7 68.2 71.5 75.4 39.3",
            cot="84.3 71.2 67.0 34.9 62.2 67.4 74.4 40.3",
            averages=(65.5, 62.7),
        ),
        _row(
            EIGHT, "2 direct", sft("direct"),
            direct="86.4 73.7 78.0 45.4 71.9 78.8 91.5 43.2",
            cot="85.7 71.8 68.8 38.6 63.6 72.5 85.4 38.6",
            averages=(71.1, 65.6),
        ),
        _row(
            EIGHT, "3 reasoned", sft("reasoned"),
            direct="84.9 71.8 81.2 45.7 72.1 75.3 85.0 41.9",
            cot="85.1 82.2 81.2 49.7 69.9 77.0 91.3 49.2",
            averages=(69.7, 73.2),
        ),
        _row(
            EIGHT, "4 both (SFT)", sft("both"),
            direct="85.4 76.1 82.9 50.6 73.1 79.4 90.4 44.3",
            cot="86.2 83.0 81.8 51.6 71.1 78.5 92.7 50.6",
            averages=(72.8, 74.4),
        ),
        _row(
            EIGHT, "5 SFT + RLAIF-V", None,
            direct="85.6 76.1 83.1 50.7 73.3 79.6 91.1 44.1",
            cot="86.7 83.0 82.4 50.8 71.4 79.1 92.9 50.8",
            averages=(73.0, 74.6),
        ),
        _row(
            EIGHT, "6 SFT + DPO", DPO,
            direct="85.4 76.4 83.1 51.2 73.3 79.4 90.8 44.2",
            cot="87.0 84.2 82.7 52.7 71.5 79.5 92.6 52.1",
            averages=(73.0, 75.3),
        ),
    ),
    varies={"sft": {"sft.direct_ratio": 1.0, "sft.reasoned_ratio": 1.0, "sft.format_rows": 50}},
    note="Row 5 trains on 80k pairs of RLAIF-V, which no recipe of ours makes.",
)  # fmt: skip

_OTHERS = Table(
    "others",
    "Table 5 (v1)",
    "Beside other models",
    ELEVEN,
    (
        _row(
            ELEVEN, "GPT-4o", None,
            direct="89.6 79.6 90.3 72.4 78.1 80.7 85.9 54.8 80.2 55.1 57.8",
            cot="90.1 84.7 90.8 72.8 75.4 81.5 87.2 63.4 79.2 64.7 63.6",
        ),
        _row(
            ELEVEN, "Cambrian-8B (official)", None,
            direct="83.1 73.3 77.8 45.7 71.7 73.0 80.4 49.0 62.4 50.3 42.7",
        ),
        _row(
            ELEVEN, "SFT (4)", sft("both"),
            direct="85.4 76.1 82.9 50.6 73.1 79.4 90.4 44.3 61.6 51.6 41.6",
            cot="86.2 83.0 81.8 51.6 71.1 78.5 92.7 50.6 62.0 54.0 40.0",
        ),
    ),
    note="The paper's average is of the better of the two prompts: "
    "77.9 (GPT-4o), 64.5 (Cambrian), 68.8 (SFT). It marks Cambrian's A-OKVQA, InfoVQA, MathVista "
    "and MMStar by footnotes.",
)  # fmt: skip
BEST_AVERAGES = {"GPT-4o": 77.9, "Cambrian-8B (official)": 64.5, "SFT (4)": 68.8}
"""Of the better prompt on each benchmark, as printed in Table 5 (v1)."""

_CHARTS = ("chartqa",)
_PILOT = Table(
    "pilot",
    "Pilot of the introduction",
    "Direct answers alone teach little reasoning",
    _CHARTS,
    (
        _row(_CHARTS, "format", sft("format"), "70.2", "71.2"),
        _row(_CHARTS, "format + 26k direct answers of ChartQA", None, "73.1", "71.8"),
    ),
)

_MATHS = ("mathvista",)
_MATHEMATICS = Table(
    "mathematics",
    "Data ablation, mathematics",
    "What MathVista gains from each training set",
    _MATHS,
    tuple(
        _row(_MATHS, title, sft("format") if title == "format" else None, direct, cot)
        for title, direct, cot in (
            ("format", "39.3", "40.3"),
            ("MathVision", "41.0", "43.4"),
            ("MathVision + G-LLaVA", "43.2", "44.9"),
            ("… + 50k MathPlus (text)", "42.3", "45.6"),
            ("… + 100k MathPlus (text)", "43.0", "44.9"),
            ("… + 50k MathInstruct (text)", "43.1", "45.0"),
            ("… + 100k MathInstruct (text)", "43.7", "46.3"),
            ("… + AI2D", "44.1", "46.4"),
            ("… + SQA", "43.1", "47.3"),
            ("… + ChartQA", "43.2", "50.4"),
        )
    ),
)

_SCIENCES = ("ai2d", "scienceqa")
_SCIENCE = Table(
    "science",
    "Data ablation, science",
    "What AI2D and SQA gain from each training set",
    _SCIENCES,
    tuple(
        _row(_SCIENCES, title, sft("format") if title == "format" else None, cot=cot)
        for title, cot in (
            ("format", "67.4 74.4"),
            ("AI2D", "76.3 76.6"),
            ("SQA", "66.9 90.4"),
            ("AI2D + SQA", "76.7 91.2"),
            ("AI2D + SQA + ChartQA", "77.4 91.4"),
        )
    ),
)

_DOMAINS = ("aokvqa", "chartqa")
_CUTS = {"70 words": 70, "90 words": 90, "110 words": 110, "no cut": 0}
_TRUNCATION = Table(
    "truncation",
    "Truncation ablation (v1 appendix, ACL App. I)",
    "Where DPO cuts responses",
    _DOMAINS,
    (
        _row(_DOMAINS, "SFT (4)", sft("both"), "85.4 76.1", "86.2 83.0"),
        *(
            _row(
                _DOMAINS, f"DPO on {BENCHMARKS[domain].title}, {cut}",
                _trained_on("dpo", (domain,), dpo__max_words=words),
                *(text if domain == "aokvqa" else text_of_charts),
            )
            for domain in _DOMAINS
            for (cut, words), text, text_of_charts in zip(
                _CUTS.items(),
                (("85.2 -", "86.7 -"), ("85.2 -", "86.9 -"),
                 ("85.3 -", "86.3 -"), ("85.1 -", "85.7 -")),
                (("- 76.5", "- 83.9"), ("- 76.2", "- 84.2"),
                 ("- 76.7", "- 81.8"), ("- 75.9", "- 80.6")),
                strict=True,
            )
        ),
    ),
    layout=(
        Row("SFT (4)", sft("both")),
        *(
            Row(f"DPO, {cut}", Recipe("dpo", {"sft.composition": "both", "dpo.max_words": words}))
            for cut, words in _CUTS.items()
        ),
    ),
    varies={"dpo": {"dpo.max_words": 90, "dpo.token_weights": "none", "sample.datasets": None}},
    note="Each benchmark after DPO on its own training set alone. Of cos and linear weights the "
    'public code says "cos decay has similar performance to truncate. linear decay is worse"; '
    "there are no figures.",
)  # fmt: skip

_MATH_SETS = ("mathvision", "geo170k")
_RFT = Table(
    "rft",
    "RFT against DPO",
    "SFT on the policy's own right chains (RFT), with and without the format data, against DPO",
    THREE,
    (
        _row(THREE, "SFT (4)", sft("both"), "85.4 76.1 44.3", "86.2 83.0 50.6"),
        _row(THREE, "DPO (6)", DPO, "85.4 76.4 44.2", "87.0 84.2 52.1"),
        *(
            _row(
                THREE, f"{title}-RFT{'+Format' if rows else ''}",
                _trained_on("rft", datasets, rft__format_rows=rows), direct, cot,
            )
            for title, datasets, rows, direct, cot in (
                ("A-OKVQA", ("aokvqa",), 0, "85.1 72.7 37.4", "87.7 0.0 32.5"),
                ("A-OKVQA", ("aokvqa",), 50, "85.8 74.9 41.3", "86.3 80.2 46.5"),
                ("ChartQA", ("chartqa",), 0, "85.4 75.0 42.6", "86.7 83.9 52.0"),
                ("ChartQA", ("chartqa",), 50, "85.9 75.8 44.4", "85.5 83.4 50.6"),
                ("Math", _MATH_SETS, 0, "85.3 76.0 32.4", "86.7 67.3 50.9"),
                ("Math", _MATH_SETS, 50, "85.5 76.0 39.6", "85.5 82.0 50.0"),
                ("Combined", (*_DOMAINS, *_MATH_SETS), 0, "85.3 75.4 37.8", "85.4 84.4 49.0"),
                ("Combined", (*_DOMAINS, *_MATH_SETS), 50, "85.0 75.5 43.0", "86.6 83.1 47.1"),
            )
        ),
    ),
    layout=(
        Row("SFT (4)", sft("both")),
        Row("DPO (6)", DPO),
        Row("RFT", Recipe("rft", {"sft.composition": "both", "rft.format_rows": 0})),
        Row("RFT+Format", Recipe("rft", {"sft.composition": "both", "rft.format_rows": 50})),
    ),
    varies={
        "rft": {"rft.format_rows": 0, "rft.composition": "reasoned", "sample.datasets": None}
    },
)  # fmt: skip

_STAR = Table(
    "star",
    "Table D.1",
    "Nearly no rationales: STaR from direct answers and the format",
    EIGHT,
    (
        _row(
            EIGHT, "direct (2)", sft("direct"),
            direct="86.4 73.7 78.0 45.4 71.9 78.8 91.5 43.2",
            cot="85.7 71.8 68.8 38.6 63.6 72.5 85.4 38.6",
        ),
        _row(
            EIGHT, "STaR", STAR,
            direct="85.9 74.6 79.2 47.4 72.1 79.5 92.2 44.4",
            cot="85.9 77.9 75.8 44.0 25.1 76.6 86.8 42.0",
        ),
    ),
    note="25.1 (TextVQA) is what the paper prints.",
)  # fmt: skip

NUM_VOTERS = 64
"""Candidates of the verifier's one printed point; its curves are not printed."""
_VERIFIED = ("chartqa", "mathvista")
_VERIFIER = Table(
    "verifier",
    "Fig. 6 (v1), Fig. 5 (ACL)",
    "The DPO model as verifier of its own answers",
    _VERIFIED,
    (
        _row(_VERIFIED, "one answer", verified("greedy"), cot="84.2 52.1"),
        _row(
            _VERIFIED, f"weighted voting over {NUM_VOTERS}", verified("weighted", n=NUM_VOTERS),
            cot="85.4 53.3",
        ),
    ),
    layout=(
        Row("one answer (greedy)", verified("greedy")),
        Row("one answer (sampled)", verified("single")),
        Row("majority voting", verified("majority")),
        Row("weighted voting", verified("weighted")),
        Row("best of N", verified("best")),
    ),
    note="The figures' other points are not printed; nor is how votes are weighted.",
)  # fmt: skip

TABLES = (
    _COMPOSITIONS,
    _BASELINES,
    _TRUNCATION,
    _RFT,
    _STAR,
    _VERIFIER,
    _MATHEMATICS,
    _SCIENCE,
    _PILOT,
    _OTHERS,
)
