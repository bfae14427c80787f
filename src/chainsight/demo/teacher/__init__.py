"""The scripted teacher: a stand-in for OpenAI's API, no model at all.

A small server that receives what the real teacher would receive. It reads the table out of a bar
chart's PNG metadata (which is why the client sends small images untouched) and writes what
`rationales.write` makes of it. A settable share of its answers is wrong (a misread bar, another
conclusion, or none), chosen by the content of the request, so that the same question always gets
the same answer. Token counts follow GPT-4o's formula for images and 1.3 a word for text; nothing
is charged, but what would have been is counted (`bill`). How slow, strict and broken it is, is
settable too (`behaviour`).

    POST /v1/chat/completions    GET /v1/models    GET /health    GET /bill    GET /bill/events
    and the Batch API (`batches`)
"""

from chainsight.demo.teacher.behaviour import Batching, Behaviour, Faults, Limits, Oddities
from chainsight.demo.teacher.bill import Bill
from chainsight.demo.teacher.reading import MODEL, image_tokens
from chainsight.demo.teacher.server import Handle, run, serve

__all__ = [
    "MODEL",
    "Batching",
    "Behaviour",
    "Bill",
    "Faults",
    "Handle",
    "Limits",
    "Oddities",
    "image_tokens",
    "run",
    "serve",
]
