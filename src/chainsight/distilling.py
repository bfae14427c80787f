"""What `distill` would cost, for one configuration: found out, and drawn."""

from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chainsight.config import RunConfig
from chainsight.errors import ConfigError
from chainsight.job import job
from chainsight.runner import find
from chainsight.store import Store, open_store
from chainsight.teacher.estimate import Estimate, Pace
from chainsight.teacher.sizing import Span
from chainsight.teacher.tiers import TIERS_OF

VERDICTS = {
    "enough": "enough",
    "tight": "likely enough, not surely",
    "short": "not enough: it stops after about {:,} more questions, and goes on when it is raised",
}


def preview(config: RunConfig, examples: str | None, probe: int) -> Estimate:
    """What the open questions of `config` would cost; `probe` of them are asked first.

    `examples` is a manifest or store URI; none: those of the configuration's own run.

    Raises:
        ConfigError: the examples were not prepared yet, or nobody would be asked.
    """
    from chainsight.stages import distill

    store = open_store(config.run.store_uri(), Path(config.run.home) / "cache")
    work = job(
        "distill",
        config.distill,
        run=config.run,
        model=config.model,
        inputs={"examples": examples or _prepared(config, store)},
        store=store,
    )
    folder = store.fetch(work.inputs["examples"])
    return distill.preview(config.distill, examples=folder, context=work.context(), probe=probe)


def _prepared(config: RunConfig, store: Store) -> str:
    made = find(
        job("prepare", config.prepare, run=config.run, model=config.model, inputs={}, store=store)
    )
    if made is None:
        raise ConfigError(
            "an estimate counts the questions, and these are not there yet: run `chainsight "
            "prepare CONFIG` with the same configuration first, or give --examples with a "
            "manifest or store URI"
        )
    return store.artifact_uri("examples", made.outputs["examples"].key)


def show(console: Console, found: Estimate) -> None:
    """What is to be asked, what it costs in both modes, and what that goes by."""
    for title, text in (
        ("teacher", found.teacher),
        ("questions", _questions(found)),
        ("tokens in", _tokens_in(found)),
        ("tokens out", _span(found.completion_tokens)),
        ("price", _price(found)),
    ):
        _say(console, title, text)
    if found.num_open:
        console.print(_table(found))
    for title, text in (
        ("time", _limits(found)),
        ("at most", _most(found)),
        ("budget", _budget(found)),
        ("known from", _basis(found)),
        ("note", _end(found)),
    ):
        if text:
            _say(console, title, text)


def _say(console: Console, title: str, text: str) -> None:
    console.print(f"{title:<11} {text}", highlight=False, markup=False, soft_wrap=True)


def _questions(found: Estimate) -> str:
    parts = [f"{found.num_open:,} to ask"]
    if found.num_answered:
        spent = "" if found.spent_usd is None else f" (${found.spent_usd:,.2f})"
        parts.append(f"{found.num_answered:,} answered already{spent}, not paid again")
    if found.num_repeated:
        parts.append(f"{found.num_repeated:,} that repeat others")
    if found.num_unsent:
        parts.append(f"{found.num_unsent:,} whose image cannot be read")
    return ", ".join(parts)


def _tokens_in(found: Estimate) -> str:
    if found.images_known:
        images = f"images {found.image_tokens.likely:,.0f} (exact)"
    else:
        images = f"images {_span(found.image_tokens)} (the model's rule is not known)"
    return f"{images}, text {_span(found.text_tokens)}"


def _span(span: Span) -> str:
    return f"about {span.likely:,.0f} ({span.low:,.0f} to {span.high:,.0f})"


def _price(found: Estimate) -> str:
    if found.price is None:
        return "not known: set distill.price to see the cost, and to bound it by distill.budget_usd"
    price = found.price
    return (
        f"${price.prompt:g} in, ${price.completion:g} out a million tokens, a batch's times "
        f"{price.batch:g} ({found.price_source})"
    )


def _table(found: Estimate) -> Table:
    table = Table(title_justify="left")
    table.add_column("distill.mode")
    for title in ("cost", "from", "to"):
        table.add_column(title, justify="right")
    table.add_column("time")
    names = {mode: f"{mode} (as set)" if mode == found.mode else mode for mode in ("sync", "batch")}
    table.add_row(names["sync"], *_usd(found.sync_usd), _hours(found.paces))
    table.add_row(names["batch"], *_usd(found.batch_usd), _batches(found))
    return table


def _usd(span: Span | None) -> tuple[str, str, str]:
    if span is None:
        return ("not known", "", "")
    return (_money(span.likely), _money(span.low), _money(span.high))


def _money(usd: float) -> str:
    return f"${usd:,.0f}" if usd >= 1000 else f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}"


def _hours(paces: tuple[Pace, ...]) -> str:
    if len(paces) == 1:
        return f"{_time(paces[0].hours)}, by {paces[0].bound}"
    hours = sorted(pace.hours for pace in paces)
    return f"{_time(hours[0])} to {_time(hours[-1])}"


def _limits(found: Estimate) -> str:
    """Under each of several limits, where one's own are not known."""
    if len(found.paces) == 1:
        return ""
    each = ", ".join(f"{pace.limits} {_time(pace.hours)}" for pace in found.paces)
    return (
        f"sync by OpenAI's limits for gpt-4o of {TIERS_OF}: {each}; set "
        "distill.tokens_per_minute to yours"
    )


def _time(hours: float) -> str:
    return f"{hours:,.1f} h" if hours >= 1 else f"{max(1.0, hours * 60):.0f} min"


def _batches(found: Estimate) -> str:
    files = f"{found.num_files} file{'s' if found.num_files > 1 else ''}"
    fewest, most = (choose(pace.waves for pace in found.paces) for choose in (min, max))
    days = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"{files}, at most {days} day{'s' if most > 1 else ''}"


def _most(found: Estimate) -> str:
    if found.most_usd is None:
        return ""
    retries = f", and all {found.retries} retries are needed" if found.retries else ""
    return f"{_money(found.most_usd)}, if every answer has distill.max_tokens{retries}"


def _budget(found: Estimate) -> str:
    if found.budget is None:
        return ""
    verdict = VERDICTS[found.budget.verdict].format(found.budget.num_questions)
    return f"{_money(found.budget.limit_usd)}: {verdict}"


def _basis(found: Estimate) -> str:
    if found.num_learned:
        return f"{found.num_learned:,} answers of this teacher"
    return (
        "defaults for text and answers: --probe 50 asks so many questions, keeps the answers, and "
        "narrows the range"
    )


def _end(found: Estimate) -> str:
    if found.ends is None:
        return ""
    ends = "shut this model down" if found.ends <= date.today() else "shuts this model down"
    return f"OpenAI {ends} on {found.ends}; at other places it may go on"
