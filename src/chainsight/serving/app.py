"""The endpoint: health, readiness, models, chat completions, metrics."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from chainsight.records import Mode
from chainsight.serving import protocol
from chainsight.serving.metrics import Metrics
from chainsight.serving.protocol import Answer, ChatRequest, RefusedError
from chainsight.serving.worker import Worker
from chainsight.tracking import Version


@dataclass(frozen=True)
class Serving:
    """A model that is loaded and has answered once."""

    version: Version
    worker: Worker
    default_tokens: Mapping[Mode | None, int]
    """Longest answer of requests that do not say, by mode."""
    since: int
    """When it was loaded, seconds since 1970."""

    @property
    def ids(self) -> tuple[str, str]:
        """What clients may call the model: its name, or this very version."""
        return self.version.name, self.version.uri


class State:
    """What the endpoint answers with: nothing yet, a model, or that it is stopping."""

    def __init__(self) -> None:
        self.serving: Serving | None = None
        self.phase = "starting"
        """Why it is not ready, in a few words."""
        self.stopping = False
        self.metrics = Metrics()

    def ready(self) -> Serving:
        """The model; RefusedError (503) before and after its time."""
        if self.serving is None or self.stopping or not self.serving.worker.alive:
            phase = "stopping" if self.stopping else self.phase
            raise RefusedError(503, f"not ready: {phase}", "not_ready")
        return self.serving


def build(state: State, clock: Callable[[], float] = time.monotonic) -> FastAPI:
    """The application around `state`."""
    app = FastAPI(title="Chainsight", docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        return JSONResponse(error.body(), error.status)

    @app.exception_handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> Response:
        made = RefusedError(error.status_code, str(error.detail))
        return JSONResponse(made.body(), made.status)

    @app.get("/healthz")
    async def healthz() -> Response:
        serving = state.serving
        if serving is not None and not (serving.worker.alive or state.stopping):
            raise RefusedError(500, "the worker has died: restart me")
        return PlainTextResponse("alive\n")

    @app.get("/readyz")
    async def readyz() -> Response:
        return PlainTextResponse(f"ready: {state.ready().version.uri}\n")

    @app.get("/metrics")
    async def metrics() -> Response:
        return PlainTextResponse(_metrics(state))

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        serving = state.ready()
        return {"object": "list", "data": [_card(serving, name) for name in serving.ids]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        started, status = clock(), 500
        try:
            response = await _chat(state, request)
            status = response.status_code
        except RefusedError as error:
            status = error.status
            raise
        finally:
            state.metrics.request(status, clock() - started)
        return response

    return app


async def _chat(state: State, request: Request) -> Response:
    serving = state.ready()
    asked = protocol.parse(await _body(request))
    if asked.model not in serving.ids:
        known = " and ".join(serving.ids)
        raise RefusedError(
            404, f"there is no model {asked.model!r}; here are {known}", "model_not_found"
        )
    question = await asyncio.to_thread(protocol.question, asked, serving.default_tokens)
    answer = await asyncio.wrap_future(serving.worker.submit(question))
    state.metrics.tokens(prompt=answer.prompt_tokens, completion=answer.completion_tokens)
    number = serving.version.number
    if asked.stream:
        return StreamingResponse(_events(answer, asked, number), media_type="text/event-stream")
    return JSONResponse(protocol.completion(answer, asked.model, number))


async def _body(request: Request) -> bytes:
    """The whole body; RefusedError (413) before more than is allowed has been read."""
    read, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > protocol.MAX_BODY_BYTES:
            raise RefusedError(413, f"a request has at most {protocol.MAX_BODY_BYTES} bytes")
        read.append(piece)
    return b"".join(read)


def _events(answer: Answer, asked: ChatRequest, version: int) -> Iterator[str]:
    """Server-sent events. The answer is there already: the sampler gives no single tokens."""
    include_usage = bool(asked.stream_options and asked.stream_options.include_usage)
    for chunk in protocol.chunks(answer, asked.model, version, include_usage=include_usage):
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


def _card(serving: Serving, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": serving.since,
        "owned_by": "chainsight",
        "root": serving.version.uri,
        "version": serving.version.number,
    }


def _metrics(state: State) -> str:
    serving = state.serving
    if serving is None:
        return state.metrics.text(ready=False, num_waiting=0)
    return state.metrics.text(
        ready=not state.stopping,
        num_waiting=serving.worker.num_waiting,
        model=serving.version.name,
        version=serving.version.number,
    )
