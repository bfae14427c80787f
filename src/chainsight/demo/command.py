"""`chainsight teacher`: the scripted teacher as a server."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

Section = TypeVar("Section")
Pairs = list[str] | None


def teacher(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8399,
    error_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of wrong rationales.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Which rationales are wrong, what fails.")] = 0,
    bills: Annotated[
        Path | None, typer.Option(help="Append one line per billed request to this file.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Bearer token that callers must send (no secret).")
    ] = None,
    latency: Annotated[float, typer.Option(min=0, help="Median seconds until an answer.")] = 0.0,
    spread: Annotated[
        float, typer.Option(min=0, help="Standard deviation of the latency's logarithm.")
    ] = 0.0,
    requests_per_minute: Annotated[float | None, typer.Option(help="Limit of all callers.")] = None,
    tokens_per_minute: Annotated[float | None, typer.Option(help="Limit of all callers.")] = None,
    counted: Annotated[
        Literal["max", "sum", "used"],
        typer.Option(
            help="Tokens of a request: the larger of prompt and max_tokens (OpenAI's guide), their "
            "sum (Azure's), or those billed."
        ),
    ] = "max",
    hidden: Annotated[
        bool, typer.Option("--hidden", help="No x-ratelimit or retry-after headers, as vLLM.")
    ] = False,
    fault: Annotated[
        Pairs,
        typer.Option(
            help="NAME=SHARE of requests, again and again: http_429, http_500, http_503, reset, "
            "broken, hang, silence, truncated, garbage, drip; or burst_every=N, burst_length=N."
        ),
    ] = None,
    odd: Annotated[
        Pairs,
        typer.Option(
            help="NAME=SHARE of answers: refusal, content_filter, policy, length, answer_first, "
            "repetitive, long, no_usage."
        ),
    ] = None,
    batch: Annotated[
        Pairs,
        typer.Option(
            help="NAME=VALUE of the Batch API: seconds, expire_rate, expired_rows, row_error_rate, "
            "fail_rate, list_lag_seconds, lost_creates, http_500, max_requests, max_bytes."
        ),
    ] = None,
    queued_tokens: Annotated[
        int | None, typer.Option(help="Prompt tokens that may wait in batches.")
    ] = None,
) -> None:
    """Serve the scripted teacher: a stand-in for OpenAI's API that reads charts' own metadata.

    GET /bill says what it would have charged.
    """
    from chainsight.demo import teacher as scripted

    limits = scripted.Limits(
        requests_per_minute,
        tokens_per_minute,
        counted=counted,
        shown=not hidden,
        queued_tokens=queued_tokens,
    )
    scripted.run(
        host,
        port,
        lambda url: typer.echo(f"scripted teacher at {url} (ctrl-c ends it)", err=True),
        error_rate=error_rate,
        seed=seed,
        bills=bills,
        required_key=key,
        latency_seconds=latency,
        latency_spread=spread,
        limits=limits,
        faults=section(scripted.Faults, fault, "--fault"),
        oddities=section(scripted.Oddities, odd, "--odd"),
        batch=section(scripted.Batching, batch, "--batch"),
    )


def section(kind: type[Section], pairs: Pairs, option: str) -> Section:
    """A section of `Behaviour` from NAME=VALUE pairs, each read as its default is."""
    known: dict[str, Any] = {
        one.name: type(one.default)
        for one in fields(kind)  # type: ignore[arg-type]
    }
    found: dict[str, Any] = {}
    for pair in pairs or ():
        name, _, value = pair.partition("=")
        try:
            found[name] = known[name](value)
        except (KeyError, ValueError):
            raise typer.BadParameter(
                f"{pair}: write NAME=NUMBER; names are {', '.join(known)}", param_hint=option
            ) from None
    return kind(**found)
