"""One look at a run's questions before any is asked: what they take, and what is paid already."""

import heapq
import json
from collections import Counter, defaultdict

from chainsight.config import DistillSection
from chainsight.errors import RecordError
from chainsight.records import Example
from chainsight.teacher.cost import price_of
from chainsight.teacher.ledger import Entry, Ledger
from chainsight.teacher.reply import Reply
from chainsight.teacher.request import Question, body, first
from chainsight.teacher.sizing import Size, Sizer, size

MEASURED_BODIES = 64
"""Requests that are written out to learn how many bytes they have."""
LEARNED_ANSWERS = 2000
"""Answers of the ledger that the predictions are learned from; more make them no better."""


class Survey:
    """What `add` has seen of the questions, in order."""

    def __init__(self, config: DistillSection, ledger: Ledger, sample: int = 0) -> None:
        self._config, self._ledger, self._sample = config, ledger, sample
        self._seen: set[str] = set()
        self._lowest: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        self._bodies: list[int] = []
        self.sizer = Sizer(config)
        self.sizes: dict[str, Size] = {}
        """Of the questions that `chosen` may choose."""
        self.datasets: Counter[str] = Counter()
        """Questions to ask, by dataset."""
        self.num_open = self.num_answered = self.num_repeated = self.num_unsent = 0
        self.image_tokens = self.text_tokens = 0
        """Of the questions to ask, plain."""
        self.spent_usd = 0.0
        """On the questions that are answered."""

    def add(self, key: str, example: Example) -> str:
        """Look at one more question, and return its address as it came; "" is not to be sent."""
        if not key:
            self.num_unsent += 1
            return key
        if key in self._seen:
            self.num_repeated += 1
            return key
        self._seen.add(key)
        entry = self._ledger.get(key)
        if entry is None:
            self._open(key, example)
        else:
            self._count(entry)
            if self.sizer.num_answers < LEARNED_ANSWERS:
                self.sizer.learn(size(self._config, example), Reply.of(entry.response))
        return key

    def _open(self, key: str, example: Example) -> None:
        asked = size(self._config, example)
        self.num_open += 1
        self.datasets[example.dataset] += 1
        self.image_tokens += asked.image_tokens
        self.text_tokens += asked.text_tokens
        if len(self._bodies) < MEASURED_BODIES and (key < "08" or not self._bodies):
            self._measure(key, example)
        if self._sample:
            self._keep(key, example.dataset, asked)

    def _count(self, entry: Entry) -> None:
        cost = Reply.of(entry.response).cost_usd(price_of(self._config), batch=entry.batch)
        self.num_answered += 1
        self.spent_usd += cost

    def _measure(self, key: str, example: Example) -> None:
        question = Question(key, example, first(self._config))
        try:
            asked = body(self._config, question, self._config.teacher_model)
        except RecordError:
            return  # said when it is asked
        self._bodies.append(len(json.dumps(asked)))

    @property
    def body_bytes(self) -> float:
        """Of a request, about."""
        return sum(self._bodies) / max(1, len(self._bodies))

    def _keep(self, key: str, dataset: str, asked: Size) -> None:
        """Hold on to the lowest addresses of each dataset: a fair sample, the same each time."""
        kept = self._lowest[dataset]
        heapq.heappush(kept, (-int(key, 16), key))
        self.sizes[key] = asked
        if len(kept) > self._sample:
            del self.sizes[heapq.heappop(kept)[1]]

    def chosen(self) -> list[str]:
        """`sample` questions of those to ask, spread over the datasets by their sizes."""
        order = []
        for dataset, kept in self._lowest.items():
            keys = sorted(key for _, key in kept)
            places = [(n + 0.5) / self.datasets[dataset] for n in range(len(keys))]
            order += list(zip(places, keys, strict=True))
        return [key for _, key in sorted(order)[: self._sample]]

    def close(self, key: str) -> None:
        """Move a question that was chosen to those that are answered, if it is."""
        entry = self._ledger.get(key)
        if entry is None:
            return
        asked = self.sizes[key]
        self.num_open -= 1
        self.image_tokens -= asked.image_tokens
        self.text_tokens -= asked.text_tokens
        self._count(entry)
