"""Takes a page apart."""

import base64
import io
from html.parser import HTMLParser

from PIL import Image

VOID = {"meta", "img", "source", "br", "link", "input"}
ATTACK = "<img src=x onerror=alert(1)>\"'&amp;<script>"


class Page(HTMLParser):
    """Elements, text and pictures of an HTML document; AssertionError if tags do not nest."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if not {"style", "script"} & {*self._open}:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def skeleton(self) -> list[tuple[str, list[str]]]:
        """Elements and the names of their attributes: the same for all texts, where texts are escaped."""
        return [(tag, sorted(attributes)) for tag, attributes in self.tags]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def decode(uri: str) -> Image.Image:
    head, data = uri.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/gif;base64", "data:image/webp;base64")
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
