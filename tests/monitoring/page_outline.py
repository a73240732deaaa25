"""What a page says, read as a browser would."""

from html.parser import HTMLParser

VOID = {"meta", "br", "rect", "path", "wbr", "line", "polyline"}


class Outline(HTMLParser):
    """Tags, text and addresses of a page; fails on tags that do not match."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.text, self.links = [], [], "", []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, _attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
