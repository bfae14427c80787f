"""What a failed batch or row means for those that are still to be asked, and the ways out."""

OUT_OF_MONEY = ("billing_hard_limit_reached", "insufficient_quota", "billing_not_active")
"""Codes by which OpenAI says that the account pays no more."""
QUEUE_IS_FULL = ("token_limit_exceeded",)
"""Of a batch for which the account's queue had no room."""
PASSING = ("server_error", "internal_error", "timeout")
"""Of a batch that failed for no fault of its own."""


def unpaid(address: str, said: str) -> str:
    """What to say when the account pays no more."""
    return (
        f"{address}: the account pays no more ({said}); raise its limit or top it up, "
        "then run again"
    )


def refused(address: str, batch: str, code: str, said: str) -> str:
    """What to say of a batch that the API does not take."""
    return f"{address}: the Batch API does not take batch {batch} ({said}); {_way_out(code)}"


def _way_out(code: str) -> str:
    if "large" in code or "size" in code:
        return "lower distill.batch.max_mb"
    if "request" in code and ("many" in code or "limit" in code):
        return "lower distill.batch.max_requests"
    if "model" in code:
        return "name a model in distill.teacher_model that the Batch API has"
    return "mend what it names, or write distill.mode: sync"
