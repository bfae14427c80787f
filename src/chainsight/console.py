"""What the command line draws: a running pipeline, tables of results."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.table import Table

from chainsight.progress import bars
from chainsight.quality.reasons import REASONS
from chainsight.runner import StageRun
from chainsight.stages import STAGES

MODEL_NAMES = ("base", "policy", "aligned")
MODE_TITLES = {"direct": "direct", "cot": "reasoned"}


class RunView:
    """Follows the events of a pipeline run: a line per finished stage, a bar for the one at work.

    Off a terminal the bar is not drawn, so that logs hold one line a stage.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = bars(console)
        self._current = self._bars.add_task("starting", total=None, unit="")
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self.failure: str | None = None

    def __enter__(self) -> "RunView":
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Draw one event of `chainsight.progress.EventWriter`."""
        with self._lock:
            getattr(self, f"_on_{event['event']}")(event)

    def _on_stage(self, event: Mapping[str, Any]) -> None:
        self._start = time.monotonic()
        self._stage = str(event["stage"])
        self._bars.reset(self._current, total=None, description=self._stage, unit="")

    def _on_task(self, event: Mapping[str, Any]) -> None:
        title = f"{self._stage}: {event['title']}"
        self._bars.reset(
            self._current,
            total=event["total"],
            completed=event["done"],
            description=title,
            unit=event["unit"],
            note="",
        )

    def _on_at(self, event: Mapping[str, Any]) -> None:
        self._bars.update(self._current, completed=event["done"], note=event.get("note", ""))

    def _on_end(self, event: Mapping[str, Any]) -> None:  # noqa: ARG002
        self._bars.update(self._current, total=None)

    def _on_say(self, event: Mapping[str, Any]) -> None:
        self._console.print(event["line"], highlight=False, markup=False, soft_wrap=True)

    def _on_done(self, event: Mapping[str, Any]) -> None:
        self._line(event["stage"], event["metrics"], bool(event["reused"]))

    def _line(self, stage: str, metrics: Mapping[str, float], reused: bool) -> None:
        seconds = time.monotonic() - self._start
        took = "reused" if reused else f"{seconds:.0f} s"
        self._console.print(
            f"[green]✓[/] {stage:<9} {took:>7}  [dim]{headline(stage, metrics)}[/]",
            highlight=False,
            soft_wrap=True,
        )

    def _on_failed(self, event: Mapping[str, Any]) -> None:
        self.failure = f"{event['stage']}: {event['message']}"
        self._console.print(f"[red]✗[/] {event['stage']}", highlight=False)


HEADLINES = {
    "doctor": "{num_ok} checks passed, {num_warn} warnings",
    "prepare": "{num_examples} examples, {num_benchmark_examples} benchmark questions, "
    "{num_quarantined} rows set aside",
    "distill": "{num_kept} of {num_examples} rationales kept, ${cost_usd}",
    "sft": "{num_direct} short, {num_cot} reasoned answers, {num_steps} steps, loss {final_loss}",
    "sample": "{num_candidates} candidates for {num_questions} questions, accuracy {accuracy}",
    "pair": "{num_pairs} pairs from {num_paired} of {num_questions} questions",
    "dpo": "{num_pairs} pairs, {num_steps} steps, loss {final_loss}",
    "evaluate": "{num_predictions} answers to {num_examples} questions",
    "adopt": "{num_adopted} of {num_questions} questions have a right chain",
    "rft": "{num_direct} short, {num_cot} reasoned answers, {num_steps} steps, loss {final_loss}",
    "register": "version {version}; {num_wins} wins, {num_losses} losses against the champion",
}
"""What a finished stage says of itself in one line."""
NOT_COMPARED = "version {version}; compared with no champion"


def headline(stage: str, metrics: Mapping[str, float]) -> str:
    """The few numbers of a stage that people look for."""
    compared = stage != "register" or "champion_value" in metrics
    text = HEADLINES[stage] if compared else NOT_COMPARED
    return text.format_map({name: number(value) for name, value in metrics.items()})


def number(value: float) -> str:
    """A metric for people: counts without decimals, the rest with three figures."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def show_scores(console: Console, models: Mapping[str, Any], title: str) -> None:
    """The table of direct and reasoned accuracy per model, in percent, with standard errors."""
    modes = [m for m in MODE_TITLES if any(m in scores for scores in models.values())]
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for mode in modes:
        table.add_column(f"{MODE_TITLES[mode]} accuracy, %", justify="right")
    every = [score for scores in models.values() for score in scores.values()]
    forgiving = any(score.get("lenient", 0.0) > score["value"] for score in every)
    if forgiving:
        table.add_column("lenient, %", justify="right", style="dim")
    table.add_column("questions", justify="right")
    ordered = [m for m in MODEL_NAMES if m in models]
    for model in ordered + [m for m in models if m not in ordered]:
        cells = [_cell(models[model].get(mode)) for mode in modes]
        if forgiving:
            cells.append(" / ".join(_lenient(models[model].get(mode)) for mode in modes))
        counts = {s["num_examples"] for s in models[model].values() if "num_examples" in s}
        table.add_row(model, *cells, str(max(counts, default=0)))
    console.print(table)


def _cell(score: Mapping[str, float] | None) -> str:
    return f"{100 * score['value']:.1f} ± {100 * score['standard_error']:.1f}" if score else "-"


def _lenient(score: Mapping[str, float] | None) -> str:
    return f"{100 * score['lenient']:.1f}" if score and "lenient" in score else "-"


def show_summary(console: Console, summary: Mapping[str, Any], folder: Path) -> None:
    """The end of a run: scores, registered version, cost and time, where the report is."""
    if summary["models"]:
        title = "Accuracy on held-out questions (± standard error)"
        show_scores(console, summary["models"], title)
    else:
        console.print("no scores yet: the stage evaluate is not finished")
    registered = summary.get("registered")
    if registered:
        aliases = ", ".join(f"@{alias}" for alias in registered.get("aliases", [])) or "no alias"
        console.print(
            f"registered  {registered['name']} version {registered['version']} ({aliases}): "
            f"{registered['reason']}",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"report      {folder / 'report.html'}", highlight=False, soft_wrap=True)


def show_stage(console: Console, run: StageRun, uris: Mapping[str, str]) -> None:
    """What one stage left behind: its artifacts and its numbers."""
    table = Table(title=f"{run.stage}: {STAGES[run.stage].summary}", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    for name, value in run.metrics.items():
        if name not in TABLED:
            table.add_row(name, number(value))
    table.add_row("seconds" + (" (reused)" if run.reused else ""), f"{run.seconds:.1f}")
    console.print(table)
    for kind, uri in uris.items():
        console.print(f"{kind}  {uri}", highlight=False, soft_wrap=True)


TABLED = {f"num_{reason}" for reason in REASONS}
"""Metrics that `show_quality` has in its table."""


def show_quality(console: Console, told: Mapping[str, Any]) -> None:
    """What became of the teacher's answers, a line a dataset (`chainsight.quality.tally`)."""
    table = Table(title="Rationales kept, and why not", title_justify="left")
    for name in ("dataset", "asked", "kept", "%", "$", "set aside"):
        table.add_column(name, justify="left" if name in ("dataset", "set aside") else "right")
    groups = told["datasets"] | ({"all": told["all"]} if len(told["datasets"]) > 1 else {})
    for name, group in groups.items():
        lost = sorted(group["reasons"].items(), key=lambda item: -item[1])
        cost = sum(group["cost_by_reason"].values())
        table.add_row(
            name,
            number(group["num_examples"]),
            number(group["num_kept"]),
            f"{100 * group['num_kept'] / group['num_examples']:.1f}",
            f"{cost:,.2f}",
            ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in lost) or "-",
        )
    console.print(table)
