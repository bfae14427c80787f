"""Answers of a model, greedy or drawn: each prompt is computed once for all its candidates.

Letters in shapes: R rows (candidates that are being written), V vocabulary, A position axes.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import torch

from chainsight.vlm import decoding, grouping, ties
from chainsight.vlm.checkpoint import Loaded
from chainsight.vlm.prefix import Group
from chainsight.vlm.template import Prompt, Row

SHRINK_BELOW = 0.75
"""Finished rows are dropped when the share of those still written falls below this."""
JOIN_FROM = 0.25
"""Other questions join when at least this share of the places is free."""
OPEN = 2
"""Questions that are open at most, as a multiple of the places: a long answer takes a place of
its own, and keeps its prompt."""
PREFILL_TOKENS = 8192
"""Prompts are computed together up to this many tokens: enough to keep a GPU busy."""


@dataclass(frozen=True)
class Generated:
    """One answer."""

    text: str
    tokens: tuple[int, ...]
    """As they were drawn, the end-of-turn included."""
    truncated: bool
    """No end-of-turn came within the allowed tokens."""

    @property
    def num_tokens(self) -> int:
        """Tokens drawn, the end-of-turn included."""
        return len(self.tokens)


@dataclass(frozen=True)
class Drawing:
    """How answers are drawn."""

    max_new_tokens: int
    """Of the longest answer; a row may allow less (`Row.longest`)."""
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    num_candidates: int = 1
    seed: int = 0

    def longest(self, row: Row) -> int:
        """Most tokens of an answer to `row`."""
        return min(row.longest or self.max_new_tokens, self.max_new_tokens)

    def share(self, row: Row) -> float:
        """Of the longest answer, what the one to `row` may have: 0 to 1."""
        return self.longest(row) / self.max_new_tokens


_Unit = list[tuple[int, Row]]
"""Rows that begin together, with their numbers."""


def generate(
    loaded: Loaded,
    prompts: Sequence[Prompt],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    num_candidates: int = 1,
    seed: int = 0,
) -> list[list[Generated]]:
    """Answer `prompts` together (the caller cuts batches): `num_candidates` each, in order.

    Temperature 0 is greedy. Candidate k of a prompt draws its own uniform numbers, a function of
    (seed, prompt.key, k) alone, and inverts the distribution with them: what else is in the batch
    changes logits by rounding at most. A picture's placeholder is never drawn.

    Raises:
        RecordError: a picture is refused.
    """
    return continue_rows(
        loaded,
        [loaded.template.row(prompt) for prompt in prompts],
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        num_candidates=num_candidates,
        seed=seed,
    )


def continue_rows(
    loaded: Loaded,
    rows: Sequence[Row],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_p: float = 1.0,
    num_candidates: int = 1,
    seed: int = 0,
) -> list[list[Generated]]:
    """As `generate`, of prompts that are tokenised already."""
    how = Drawing(max_new_tokens, temperature, top_p, num_candidates, seed)
    found = dict(stream(loaded, rows, how, in_flight=len(rows)))
    return [found[number] for number in range(len(rows))]


def stream(
    loaded: Loaded, rows: Iterable[Row], how: Drawing, *, in_flight: int
) -> Iterator[tuple[int, list[Generated]]]:
    """Answers with their row's number, each row as soon as all its candidates have ended.

    There are places for all candidates of `in_flight` rows; others take the places of candidates
    that ended, while no more than OPEN times as many rows are open. Rows that begin together and
    have their pictures in common are computed together.
    """
    return stream_units(loaded, ([row] for row in rows), how, in_flight=in_flight)


def stream_units(
    loaded: Loaded, units: Iterable[Sequence[Row]], how: Drawing, *, in_flight: int
) -> Iterator[tuple[int, list[Generated]]]:
    """As `stream`, of units whose rows begin together, numbered through.

    A row whose answer may be a tenth as long (`Row.longest`) takes a tenth of a place. The last
    unit that joins may take more places than are free.
    """
    numbers = count()
    waiting = ([(next(numbers), row) for row in unit] for unit in units)
    writing = _Writing(loaded, how)
    while True:
        free = in_flight - -(-writing.load // how.num_candidates)
        free = min(free, OPEN * in_flight - len(writing.done))
        if free >= max(in_flight * JOIN_FROM, 1) and (joining := _fitting(waiting, free, how)):
            yield from writing.drop()
            writing.join(joining)
        if not writing.num_live:
            return
        yield from writing.step()


def _fitting(waiting: Iterator[_Unit], places: float, how: Drawing) -> list[_Unit]:
    """Units to take `places` places at least, or all that are left."""
    found: list[_Unit] = []
    while places > 0 and (unit := next(waiting, None)):
        found.append(unit)
        places -= sum(how.share(row) for _, row in unit)
    return found


def answer_of(loaded: Loaded, tokens: tuple[int, ...]) -> Generated:
    """What was drawn, read."""
    ends = loaded.end_ids
    said = [token for token in tokens if token not in ends]
    text = loaded.template.tokenizer.decode(said, skip_special_tokens=True)
    return Generated(text, tokens, truncated=not tokens or tokens[-1] not in ends)


def choose(
    logits: torch.Tensor, uniforms: torch.Tensor | None, temperature: float, top_p: float
) -> torch.Tensor:
    """The next token of each row, [R], from logits [R, V] and uniform numbers [R] in [0, 1).

    Without uniforms the most likely one. With them the first token at which the cumulative
    distribution exceeds the number; `top_p` below 1 keeps the fewest most likely tokens whose
    mass reaches it.
    """
    if uniforms is None:
        return logits.argmax(-1)
    probabilities = (logits.double() / temperature).softmax(-1)
    if top_p < 1:
        ordered, index = probabilities.sort(descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        kept = torch.where(before < top_p, ordered, 0.0)
        return index.gather(-1, _invert(kept, uniforms)[:, None])[:, 0]
    return _invert(probabilities, uniforms)


def _invert(masses: torch.Tensor, uniforms: torch.Tensor) -> torch.Tensor:
    """First index whose cumulative mass exceeds the uniform share of the total, [R]."""
    cumulative = masses.cumsum(-1)
    target = uniforms[:, None] * cumulative[:, -1:]
    found = torch.searchsorted(cumulative, target, right=True)[:, 0]
    last = (masses > 0).cumsum(-1).argmax(-1)  # a target may round up to the total
    return torch.minimum(found, last)


def _uniforms(seed: int, key: str, candidate: int, count: int) -> torch.Tensor:
    digest = hashlib.sha256(f"{seed}\0{key}\0{candidate}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.rand(count, generator=generator, dtype=torch.float64)


def _packs(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Groups that are computed in one pass."""
    pack: list[Group] = []
    for group in groups:
        if pack and sum(map(len, pack)) + len(group) > PREFILL_TOKENS:
            yield pack
            pack = []
        pack.append(group)
    if pack:
        yield pack


@dataclass
class _Rows:
    """What is known of the rows being written; each tensor's first dimension is R."""

    logits: torch.Tensor
    """[R, V], of the next token."""
    positions: torch.Tensor
    """[R], of the next token."""
    uniforms: torch.Tensor
    """[R, max_new_tokens]; [R, 0] if answers are greedy."""
    tokens: torch.Tensor
    """[R, max_new_tokens]; -1 where nothing is written."""
    counts: torch.Tensor
    """[R]: tokens written."""
    limits: torch.Tensor
    """[R]: most tokens."""
    finished: torch.Tensor
    """[R], bool."""

    def select(self, rows: torch.Tensor) -> "_Rows":
        return _Rows(**{name: tensor[rows] for name, tensor in vars(self).items()})

    def followed_by(self, other: "_Rows") -> "_Rows":
        both = {name: torch.cat([mine, vars(other)[name]]) for name, mine in vars(self).items()}
        return _Rows(**both)


class _Writing:
    """The answers that are being written, and those of questions that still have some."""

    def __init__(self, loaded: Loaded, how: Drawing) -> None:
        self.loaded, self.how = loaded, how
        self.ends = torch.tensor(loaded.end_ids, device=loaded.device)
        self.cache = decoding.Shared()
        self.rows: _Rows | None = None
        self.names: list[tuple[int, int]] = []
        """Question and candidate of each row."""
        self.num_live = 0
        self.load = 0.0
        """Of rows that are being written, a row of the longest answer counting 1."""
        self.done: dict[int, dict[int, Generated]] = {}
        self.asked: dict[int, Row] = {}
        """The questions of `done`."""

    @torch.inference_mode()
    def join(self, units: Sequence[_Unit]) -> None:
        """Compute the prompts of more questions and begin their answers."""
        rows = [[row for _, row in unit] for unit in units]
        asked = [one for unit in units for one in unit]
        groups, order = grouping.gather(rows, self.loaded.template.image_id)
        places = iter(order)
        for pack in _packs(groups):
            count = sum(len(group.branches) for group in pack)
            self._prefill(pack, [asked[next(places)] for _ in range(count)])

    def _prefill(self, groups: Sequence[Group], asked: Sequence[tuple[int, Row]]) -> None:
        loaded, repeats = self.loaded, self.how.num_candidates
        batch = grouping.batch(loaded, groups).to(loaded.device)
        captured, layout = decoding.Captured(), batch.layout
        sources, positions = [], []
        tails: list[list[slice]] = []
        for span, group in zip(layout.spans, groups, strict=True):
            stop, places = span.prompt_stop, []
            after = int(layout.positions[:, 0, span.start : stop].max()) + 1
            for branch in group.branches:
                start, stop = stop, stop + len(branch.ids)
                places += [slice(start, stop)] * repeats
                sources.append((stop if branch.ids else span.prompt_stop) - 1)
                positions.append(after + len(branch.ids))
            tails.append(places)
        with decoding.attending(loaded.family.language_model(loaded.model)):
            output = loaded.model(
                **batch.arguments()
                | {
                    "logits_to_keep": torch.tensor(sources, device=loaded.device),
                    "past_key_values": captured,
                    "use_cache": True,
                }
            )
        parts = [slice(span.start, span.prompt_stop) for span in layout.spans]
        self.cache.join_all(captured, parts, tails)
        self._begin(asked, output.logits[0].float(), torch.tensor(positions))

    def _begin(
        self, asked: Sequence[tuple[int, Row]], logits: torch.Tensor, positions: torch.Tensor
    ) -> None:
        how, device = self.how, self.loaded.device
        names = [(number, k) for number, _ in asked for k in range(how.num_candidates)]
        keys = {number: row.key for number, row in asked}
        limits = [how.longest(row) for _, row in asked for _ in range(how.num_candidates)]
        uniforms = torch.zeros(len(names), 0, device=device)
        if how.temperature > 0:
            drawn = [_uniforms(how.seed, keys[n], k, how.max_new_tokens) for n, k in names]
            uniforms = torch.stack(drawn).to(device)
        began = _Rows(
            logits=logits.repeat_interleave(how.num_candidates, 0),
            positions=positions.to(device).repeat_interleave(how.num_candidates),
            uniforms=uniforms,
            tokens=torch.full((len(names), how.max_new_tokens), -1, device=device),
            counts=torch.zeros(len(names), dtype=torch.long, device=device),
            limits=torch.tensor(limits, device=device),
            finished=torch.zeros(len(names), dtype=torch.bool, device=device),
        )
        self.rows = began if self.rows is None else self.rows.followed_by(began)
        self.names += names
        self.num_live += len(names)
        self.load += sum(limits) / how.max_new_tokens
        self.done |= {number: {} for number, _ in asked}
        self.asked |= dict(asked)

    @torch.inference_mode()
    def step(self) -> list[tuple[int, list[Generated]]]:
        """Write the next token of each row; gives the questions whose answers were dropped."""
        self._append()
        gone = self.drop() if self.num_live < SHRINK_BELOW * len(self.names) else []
        if self.num_live:
            self._advance()
        return gone

    def _append(self) -> None:
        rows, how = self.rows, self.how
        assert rows is not None
        every = torch.arange(len(rows.counts), device=rows.counts.device)
        place = rows.counts.clamp(max=how.max_new_tokens - 1)
        draws = rows.uniforms[every, place] if how.temperature > 0 else None
        rows.logits[:, self.loaded.template.image_id] = -torch.inf  # it would stand for pixels
        tokens = choose(rows.logits, draws, how.temperature, how.top_p)
        live = ~rows.finished
        if draws is None and self.loaded.model.dtype == torch.float32:
            self._settle(tokens, live)
        rows.tokens[every, place] = torch.where(live, tokens, rows.tokens[every, place])
        rows.counts = rows.counts + live.long()
        rows.finished = rows.finished | torch.isin(tokens, self.ends) | (rows.counts == rows.limits)
        live = ~rows.finished
        self.num_live, written = torch.stack([live.sum(), (live * rows.limits).sum()]).tolist()
        self.load = written / how.max_new_tokens

    def _settle(self, tokens: torch.Tensor, live: torch.Tensor) -> None:
        """Let no company decide between equally likely tokens [R] (`ties`)."""
        assert self.rows is not None
        close = ties.close(self.rows.logits) & live
        for row in close.nonzero()[:, 0].tolist():
            written = self.rows.tokens[row, : int(self.rows.counts[row])].tolist()
            tokens[row] = ties.settled(self.loaded, self.asked[self.names[row][0]], written)

    def _advance(self) -> None:
        """Compute the logits of the next token; rows that have ended idle on their last one."""
        rows, loaded = self.rows, self.loaded
        assert rows is not None
        tokens = rows.tokens.gather(1, rows.counts[:, None] - 1)
        positions = loaded.family.decoding_positions(rows.positions)
        with decoding.attending(loaded.family.language_model(loaded.model)):
            output = loaded.model(**decoding.forward(self.cache, tokens, positions))
        rows.logits = output.logits[:, -1].float()
        rows.positions = rows.positions + 1

    @torch.inference_mode()
    def drop(self) -> list[tuple[int, list[Generated]]]:
        """Drop the rows that have ended; gives the questions that have no other."""
        if self.rows is None or self.num_live == len(self.names):
            return []
        finished = self.rows.finished.tolist()
        written = self.rows.tokens.tolist()
        for (number, k), tokens, ended in zip(self.names, written, finished, strict=True):
            if ended:
                ids = tuple(token for token in tokens if token >= 0)
                self.done[number][k] = answer_of(self.loaded, ids)
        live = [row for row, ended in enumerate(finished) if not ended]
        self.cache.keep(live)
        self.rows = self.rows.select(torch.tensor(live, dtype=torch.long, device=self.ends.device))
        self.names = [self.names[row] for row in live]
        ready = [n for n, said in self.done.items() if len(said) == self.how.num_candidates]
        complete = [(number, self.done.pop(number)) for number in ready]
        self.asked = {number: self.asked[number] for number in self.done}
        return [(number, [said[k] for k in sorted(said)]) for number, said in complete]
