"""A page as its parser sees it."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "input"}


class Tree(HTMLParser):
    """Collects tags and attributes and checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.figures: dict[str, tuple[float, str]] = {}
        """What stands in the page by its `data-figure`: exact value and shown text."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if name := found.get("data-figure"):
            assert name not in self.figures, f"{name} stands twice in the page"
            self.figures[name] = (float(found["value"] or ""), "")
            self._figure = name

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "data":
            value, text = self.figures[self._figure]
            self.figures[self._figure] = (value, text + data)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def parse(page: str) -> Tree:
    """The page, whose every element is closed."""
    tree = Tree()
    tree.feed(page)
    assert tree.open == []
    return tree
