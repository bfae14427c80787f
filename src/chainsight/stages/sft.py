"""examples, rationales -> policy: short and reasoned answers taught to the base model.

One row is one (example, mode): the direct prompt with the short answer, or the reasoning prompt
with the teacher's kept rationale; `sft.composition` says which (arXiv 2410.16198, section 3).
Requests of kind `instruct` are learned word for word, all answers of a conversation in one row.
The loss is on the answers and their end-of-turn alone (`training.lessons`).
"""

from pathlib import Path

from chainsight import records, stored
from chainsight.config import SftSection
from chainsight.context import Context
from chainsight.records import Rationale
from chainsight.training.lessons import Reasons, teach


def run(
    config: SftSection, *, examples: Path, rationales: Path, policy: Path, context: Context
) -> dict[str, float]:
    """Train the base model and write the policy checkpoint with its `history.jsonl`.

    Raises:
        ChainsightError: nothing to learn from, or the loss is not finite.
        CheckpointError: the base model is refused.
    """
    known = {e.id: e for e in stored.examples(examples / "examples.parquet")}
    kept = records.read(rationales / "rationales.parquet", Rationale)
    reasons = Reasons({r.example_id: r.text for r in kept})
    return teach("sft", context.model.base, known, reasons, config, policy, context)
