"""An ablation's table as Markdown, which KFP shows."""

from collections.abc import Iterator, Mapping
from typing import Any

from chainsight.ablation import table
from chainsight.scoring import ALL

MODES = {"direct": "direct, %", "cot": "reasoned, %"}


def page(found: Mapping[str, Any], state: str) -> str:
    """A table a dataset: mean and standard deviation over seeds; `state` is Kubeflow's word."""
    return "\n".join(_lines(found, state)) + "\n"


def _lines(found: Mapping[str, Any], state: str) -> Iterator[str]:
    yield f"# {found['name']}: {state}"
    num_seeds = len(found["seeds"])
    modes = table.modes(found)
    for dataset in table.datasets(found):
        yield f"\n## {'mean over the datasets' if dataset == ALL else dataset}\n"
        yield "| setting | " + "".join(f"{MODES[mode]} | " for mode in modes) + "seeds |"
        yield "|---|" + "---|" * len(modes) + "---|"
        for setting in found["settings"]:
            cells = [_percent(table.cell(setting, mode, dataset)) for mode in modes]
            name = setting["name"].replace("|", "\\|")
            yield f"| {name} | {' | '.join(cells)} | {len(setting['seeds'])} of {num_seeds} |"
    if not modes:
        yield "\nNo setting is finished; what the failed tasks say is in their logs."


def _percent(cell: table.Cell | None) -> str:
    if cell is None:
        return ""
    spread = "" if cell.spread is None else f" ± {100 * cell.spread:.1f}"
    return f"{100 * cell.mean:.1f}{spread}"
