"""Self-contained HTML pages: one column, light or dark as the reader's system is.

No resource from elsewhere, and no script but one that stands in the page and is allowed by its
digest: they show from disk and in KFP's sandboxed frame, and are whole without the script.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from html import escape

LIGHT = """color-scheme: light; --text: #1f2328; --faint: #5b636c; --back: #ffffff;
  --card: #f6f8fa; --line: #d8dee4; --good: #17703f; --bad: #b03a25; --link: #1f5bbd;"""
DARK = """color-scheme: dark; --text: #e6edf3; --faint: #9ba5b0; --back: #0f141a;
  --card: #171d25; --line: #2d3540; --good: #4cc38a; --bad: #f0836b; --link: #79b0ff;"""
CSS = (
    f"""
:root {{ {LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {DARK} }} }}
:root[data-theme="light"] {{ {LIGHT} }} :root[data-theme="dark"] {{ {DARK} }}
"""
    """
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1020px; padding: 28px 20px 60px; color: var(--text);
  background: var(--back); font: 15px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 19px; margin: 44px 0 10px; }
h3 { font-size: 15px; margin: 0; } p { margin: 6px 0 12px; } .faint { color: var(--faint); }
.good { color: var(--good); } .bad { color: var(--bad); } a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 3px; }
main:focus { outline: none; } [hidden] { display: none !important; }
.skip { position: absolute; left: -9999px; } .skip:focus { left: 12px; top: 8px; z-index: 9;
  background: var(--back); padding: 6px 12px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.banner { border: 1px solid var(--line); border-left: 4px solid var(--faint); padding: 10px 14px;
  margin: 14px 0; border-radius: 6px; background: var(--card); overflow-wrap: anywhere; }
.banner.good { border-left-color: var(--good); color: var(--text); }
.banner.bad { border-left-color: var(--bad); color: var(--text); }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0; }
.tile { flex: 1 1 170px; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: 12px 16px; }
.tile b { display: block; font-size: 25px; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { color: var(--faint); font-size: 13px; }
.wide { overflow-x: auto; } figure { margin: 12px 0 6px; } figure svg { width: 100%;
  min-width: 560px; height: auto; color: var(--text); }
svg text { font-family: inherit !important; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; } th { color: var(--faint); font-weight: 600; font-size: 13px; }
td.n, th.n { text-align: right; } td.n { white-space: nowrap; }
.dot { display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 7px; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 16px; margin: 14px 0;
  background: var(--card); display: grid; grid-template-columns: minmax(150px, 260px) 1fr;
  gap: 18px; }
.card img { width: 100%; border-radius: 4px; background: #fff; }
img.tiny { image-rendering: pixelated; }
.question { font-weight: 600; white-space: pre-wrap; overflow-wrap: anywhere; }
.said { border-top: 1px solid var(--line); padding: 8px 0 2px; font-size: 14px; }
.said p { font-size: 13px; margin-bottom: 8px; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; margin: 2px 0 6px; max-height: 15em;
  overflow-y: auto; unicode-bidi: plaintext; }
.mark { font-weight: 700; white-space: nowrap; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 10px;
  white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }
summary { cursor: pointer; color: var(--link); }
@media (max-width: 640px) { .card { grid-template-columns: 1fr; } .card img { max-width: 260px; } }
@media (prefers-reduced-motion: reduce) { * { scroll-behavior: auto !important;
  transition: none !important; animation: none !important; } }
@media print { .contents, .skip { display: none; } .text { max-height: none; } }
"""
)
CONTENTS_CSS = """
.contents ol { list-style: none; margin: 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: 2px 14px; font-size: 14px; } .contents a { text-decoration: none; color: var(--faint); }
.contents a:hover { color: var(--link); text-decoration: underline; }
.contents { border-bottom: 1px solid var(--line); padding-bottom: 10px; margin-bottom: 18px; }
.contents button { margin-bottom: 8px; } section { scroll-margin-top: 12px; }
main > section:first-child h2:first-child { margin-top: 0; }
@media (min-width: 1120px) {
  body { max-width: 1264px; display: grid; grid-template-columns: 170px minmax(0, 1fr);
    gap: 0 30px; padding: 22px 20px 60px; }
  .contents { position: sticky; top: 22px; align-self: start; border: 0; padding: 0;
    max-height: calc(100vh - 40px); overflow-y: auto; }
  .contents ol { display: block; } .contents li { padding: 4px 0; line-height: 1.3; } }
"""


def document(
    title: str, sections: Iterable[str], style: str = "", script: str = "", contents: bool = False
) -> str:
    """The page of ready HTML sections, empty ones left out.

    Args:
        title: plain text.
        sections: with `contents`, each becomes a landmark with a link to it, named by its <h2>.
        style: added to `CSS`.
        script: the page's only one; the page must be whole without it.
        contents: put the list of links before the sections.
    """
    shown = [section for section in sections if section]
    links = ""
    if contents:
        shown, links = _chapters(shown)
        style = CONTENTS_CSS + style
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
        script = f"<script>{script}</script>\n"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{CSS}{style}</style></head>\n<body>\n"
        f'{links}<main id="main" tabindex="-1">\n'
        + "\n".join(shown)
        + f"\n</main>\n{script}</body></html>\n"
    )


def _chapters(sections: Sequence[str]) -> tuple[list[str], str]:
    """The sections as landmarks, and the links to them."""
    wrapped, items, known = [], [], set[str]()
    for section in sections:
        found = re.search(r"<h2>(.*?)</h2>", section, re.DOTALL)
        if not found:
            wrapped.append(section)
            continue
        name = "-".join(re.findall(r"[a-z0-9]+", found[1].lower())[:4]) or "part"
        name = name if name not in known else f"{name}-{len(known)}"
        known.add(name)
        heading = f'<h2 id="{name}-title">{found[1]}</h2>'
        whole = section[: found.start()] + heading + section[found.end() :]
        wrapped.append(f'<section id="{name}" aria-labelledby="{name}-title">{whole}</section>')
        items.append(f'<li><a href="#{name}">{found[1]}</a></li>')
    return wrapped, (
        '<a class="skip" href="#main">Skip to the content</a>\n'
        '<nav class="contents" aria-label="Contents"><button type="button" id="theme" hidden>'
        f"Dark page</button><ol>{''.join(items)}</ol></nav>\n"
    )


CONTROLS = {n: "\N{REPLACEMENT CHARACTER}" for n in (*range(32), 127) if chr(n) not in "\n\t"}


def text(said: str) -> str:
    """Whatever a person or a model wrote, to stand in the page: escaped, without what HTML has no
    place for (NUL and other control characters)."""
    return escape(said.replace("\r\n", "\n").replace("\r", "\n").translate(CONTROLS))


def table(
    head: Sequence[str],
    rows: Iterable[Iterable[str]],
    numbers: Iterable[int] = (),
    caption: str = "",
) -> str:
    """A table of ready HTML cells; columns in `numbers` stand right.

    The caption is for those who do not see the heading above.
    """
    right = set(numbers)
    marks = [' class="n"' if at in right else "" for at in range(len(head))]
    top = "".join(
        f'<th scope="col"{mark}>{cell}</th>' if cell else f"<td{mark}></td>"
        for cell, mark in zip(head, marks, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{mark}>{cell}</td>" for cell, mark in zip(row, marks, strict=False))
        + "</tr>\n"
        for row in rows
    )
    named = f'<caption class="unseen">{caption}</caption>' if caption else ""
    return f'<div class="wide"><table>{named}<tr>{top}</tr>\n{body}</table></div>'


def tiles(figures: Iterable[tuple[str, str]]) -> str:
    """Figures and what they are, as plain text."""
    inner = "".join(
        f'<div class="tile"><b>{escape(figure)}</b><span>{escape(what)}</span></div>'
        for figure, what in figures
    )
    return f'<div class="tiles">{inner}</div>'


def traced(name: str, value: float, shown: str, source: str) -> str:
    """A figure that can be found by name and traced: its exact value, and where it is from.

    Args:
        name: such as `accuracy/aligned/cot`, once in a page.
        value: as it was computed.
        shown: the same for people.
        source: artifact, column and rows that it is of.
    """
    return (
        f'<data value="{value!r}" data-figure="{escape(name)}" title="{escape(source)}">'
        f"{escape(shown)}</data>"
    )
