"""Who asks: the name in the user agent, by which robots.txt and opt-outs call this crawler."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

AGENT = "lugha"
"""Product token: the name by which robots.txt, meta tags and X-Robots-Tag address this crawler."""


def user_agent(contact: str | None) -> str:
    """How the crawler introduces itself: product, version and, if there is one, where its owner can be asked to stop."""
    try:
        number = version(AGENT)
    except PackageNotFoundError:  # run from a checkout that was not installed
        number = "0"
    return f"{AGENT}/{number} (+{contact})" if contact else f"{AGENT}/{number}"
