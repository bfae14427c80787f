"""examples, rationales, policy -> aligned: rejection fine-tuning on the policy's own right chains.

The SFT of stage sft (`training.lessons`), begun from the policy (arXiv 2410.16198, appendix on
RFT). The paper found that it gains where it is trained and forgets other tasks and formats.

`rft.format_rows` mixes the format set in ("RFT+Format"): of each dataset a few examples in both
modes, and all requests of kind `instruct`. Its chains are those that the policy was first taught,
found by its manifest: the policy's own are only of the datasets that were sampled, and it is the
others that are forgotten.
"""

from pathlib import Path

from chainsight import records, stored
from chainsight.config import RftSection
from chainsight.context import Context
from chainsight.errors import ChainsightError
from chainsight.records import Rationale
from chainsight.training.lessons import Reasons, teach


def run(
    config: RftSection,
    *,
    examples: Path,
    rationales: Path,
    policy: Path,
    aligned: Path,
    context: Context,
) -> dict[str, float]:
    """Train the policy and write its checkpoint with `history.jsonl`.

    Raises:
        ChainsightError: nothing to learn from, or the loss is not finite.
        CheckpointError: the policy is refused.
    """
    known = {
        e.id: e
        for e in stored.examples(examples / "examples.parquet")
        if config.format_rows or e.kind != "instruct"
    }
    shown = first_taught(context) if config.format_rows else {}
    reasons = Reasons(_texts(rationales), {i: text for i, text in shown.items() if i in known})
    return teach("rft", policy, known, reasons, config, aligned, context)


def first_taught(context: Context) -> dict[str, str]:
    """The chains that SFT taught the policy, or what the policy comes from.

    Raises:
        ChainsightError: the policy does not come from SFT.
    """
    uri = context.inputs.get("policy")
    manifest = context.manifest(uri) if uri else None
    while manifest and "policy" in manifest.inputs:  # of an earlier round, to its start
        manifest = context.manifest(manifest.inputs["policy"])
    if not manifest or "rationales" not in manifest.inputs:
        raise ChainsightError(
            "rft: the format rows show chains as the policy was first taught them, and its "
            "manifest names no rationales; take a policy that stage sft made, or set "
            "rft.format_rows to 0"
        )
    return _texts(context.fetch(manifest.inputs["rationales"]))


def _texts(folder: Path) -> dict[str, str]:
    rows = records.read(folder / "rationales.parquet", Rationale)
    return {row.example_id: row.text for row in rows}
