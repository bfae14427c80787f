"""The page's sections on what the rows would take: a teacher's price, a student's tokens."""

from html import escape

from chainsight.inventory import marks
from chainsight.inventory.figures import number, share, span, usd
from chainsight.inventory.marks import Report
from chainsight.webpage import table


def cost(report: Report) -> str:
    """Of rationales for all training questions, by teacher and by source."""
    found = report["distillation"]
    if not found["questions"]:
        return ""
    rows = [
        [
            escape(one["teacher"]),
            "{} / {}".format(*(f"${price:g}" for price in one["usd_per_million"])),
            one["price_seen"],
            one["ends"] or "",
            number(one["image_tokens"]),
            span(one["tokens_in"]),
            span(one["tokens_out"]),
            f"<b>{usd(one['usd'])}</b>",
            usd(one["batch_usd"]),
        ]
        for one in found["teachers"]
    ]
    head = ["teacher", "a million in / out", "price of", "shut down", "image tokens"]
    head += ["tokens in", "tokens out", "cost", "as a batch"]
    each = [
        [escape(name), number(one["questions"]), span(one["tokens_in"]), usd(one["usd"])]
        for name, one in found["sources"].items()
    ]
    paper = escape(found["teachers"][0]["teacher"])
    return (
        "<h2>What the teacher would cost</h2>"
        f'<p class="faint">Estimated for {number(found["questions"])} questions. Images, shrunk to '
        f"{number(found['image_max_side'])} pixels at most, count exactly; text is reckoned at "
        f"about four characters a token and {found['rationale_words']} words a rationale, a "
        "quarter more or less. List prices may have changed since; look up today's. "
        "Answers that are already in the ledger are not paid again.</p>"
        + table(head, rows, range(1, len(head)))
        + f"<details><summary>By source, {paper}</summary>"
        + table(["source", "questions", "tokens in", "cost"], each, (1, 2, 3))
        + "</details>"
    )


def lengths(report: Report) -> str:
    """Of training rows, by student, and how many of them are too long."""
    found = report["contents"]["examples"]
    if not found["total"]["rows"]:
        return ""
    students = sorted(found["total"]["row_tokens"])
    longest = found["total"]["max_length"]
    pictures = "".join(
        marks.measure(name, one, over=_first_over(one, longest))
        for name in students
        for one in [found["total"]["row_tokens"][name]]
    )
    rows = [
        [
            escape(source),
            *(
                cell
                for name in students
                for one in [content["row_tokens"][name]]
                for cell in (
                    number(one["median"]),
                    number(one["max"]),
                    _too_long(one["too_long"], content["rows"]),
                )
            ),
        ]
        for source, content in found["sources"].items()
    ]
    head = ["source"]
    for name in students:
        short = escape(name.partition(" ")[0])
        head += [f"{short}: median", "longest", f"over {number(longest)}"]
    return (
        "<h2>Tokens of a training row</h2>"
        '<p class="faint">Prompt, images and a rationale of the usual length. Image tokens are '
        f"exact, text is estimated. Rows over {number(longest)} tokens (sft.max_length) would be "
        f'dropped.</p><div class="grid">{pictures}</div>' + table(head, rows, range(1, len(head)))
    )


def _first_over(one: Report, longest: int) -> str:
    """The label of the first bin that is too long."""
    starts = (label for label, _ in one["bins"] if label.startswith(f"{longest + 1:,} "))
    return next(starts, "")


def _too_long(rows: int, whole: int) -> str:
    return f'<span class="bad">{share(rows, whole)}</span>' if rows else "·"
