"""The main text of a page: what is there to read, without menus, page headers and footers, advertising and comments.

Two extractors that work differently: resiliparse (Bevendorff et al., ECIR 2018) goes by the kinds and class names of
elements and takes a fifteenth of the time of trafilatura (Barbaresi, ACL 2021), which looks for the article. Where what is
left of a page without its navigation is nearly all main text to the first one, there is nothing for the second to decide.
"""

from __future__ import annotations

import logging
import re
from functools import cache, cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.html import HtmlElement
    from trafilatura.settings import Extractor

LEAST_AGREED = 0.95
"""Share of the words outside navigation that are main text to resiliparse from which on it is believed; of .8 to .95 (F1 on
labelled pages is the same within .01) the most careful one, which asks trafilatura most often."""

MOST_LINKED = 0.2
"""Share of those words in links up to which it is believed: class names do not tell every menu or list of other articles."""

LEAST_KEPT = 0.3
"""Share of what looks like the main text (resiliparse) below which trafilatura has lost the text, not cleaned it."""

_NAVIGATION = (
    "nav",
    "footer",
    "header:not(main header):not(article header)",
    "[role=navigation]",
    "[role=contentinfo]",
    "[role=banner]",
    "a[class*=skip][href^='#']",  # "skip to the content", for those who use no mouse
)
_NAVIGATION_PATHS = [
    "//nav",
    "//*[@role='navigation' or @role='contentinfo' or @role='banner']",
    "//footer",
    "//header[not(ancestor::main or ancestor::article)]",
    "//a[contains(@class, 'skip') and starts-with(@href, '#')]",
]
"""The same elements for trafilatura, whose fallback would return it on short pages."""

_LINE_ENDS = re.compile("[\n\r\v\f\u2028\u2029]")


class Shown:
    """The text that a page shows, by a parser that is four times as fast as lxml; may raise anything on hostile pages."""

    def __init__(self, source: str) -> None:
        from resiliparse.parse.html import HTMLTree

        self._tree = HTMLTree.parse(source)

    def everything(self, without: tuple[str, ...] = ()) -> str:
        """All text that a reader would see, but for the elements of some CSS selectors."""
        return self._text(False, without)

    @cached_property
    def main(self) -> str:
        """What looks like the main text, one paragraph or row of a table a line."""
        return lines(re.sub(r"\t+", "\t", self._text(True, _NAVIGATION)))

    def is_mostly_main(self) -> bool:
        """Whether what is outside navigation is nearly all main text, and few of it links."""
        all_words = _words(self.everything(_NAVIGATION))
        if not self.main or _words(self.main) < LEAST_AGREED * all_words:
            return False
        return all_words - _words(self.everything((*_NAVIGATION, "a"))) <= MOST_LINKED * all_words

    def _text(self, main_content: bool, without: tuple[str, ...]) -> str:
        from resiliparse.extract.html2text import extract_plain_text

        text: str = extract_plain_text(
            self._tree,
            main_content=main_content,
            skip_elements=list(without) or None,
            list_bullets=False,  # a style sheet makes them, they are not in the text
            links=False,
            alt_texts=False,
            form_fields=False,
            noscript=False,
        )
        return text


def main_text(shown: Shown, tree: HtmlElement) -> str:
    """The main text of a page, one paragraph a line; "" if there is none. `tree` is the page as lxml parsed it.

    What resiliparse takes for it where little else is on the page; what trafilatura takes for it else, without navigation,
    unless that keeps almost nothing. It may take minutes on a page made for that, and raise anything.
    """
    if shown.is_mostly_main():
        return shown.main
    import trafilatura

    document = trafilatura.bare_extraction(tree, options=_options(), prune_xpath=_NAVIGATION_PATHS)
    text = lines(document.text or "") if document is not None and not isinstance(document, dict) else ""
    # it took one <article> of many, or one card of a page of cards, for all of the page
    return shown.main if len(text) < LEAST_KEPT * len(shown.main) else text


@cache
def _options() -> Extractor:
    from trafilatura.settings import Extractor

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # it warns of every page without text
    # recall: pages of cards and short lists lose half of their text else, and where text is scarce that is dear
    return Extractor(output_format="python", fast=True, recall=True, comments=False)


def lines(text: str) -> str:
    """One paragraph a line: no blanks around it, no empty lines.

    U+0085 is no end of a line, and it and U+00A0 are no blanks: they may be halves of letters that were decoded wrongly.
    """
    return "\n".join(line.strip(" \t") for line in _LINE_ENDS.split(text) if line.strip())


def _words(text: str) -> int:
    return len(text.split())
