"""Web addresses: one spelling for each, and the part of the web that a crawl may touch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

MAX_LENGTH = 2000
"""Longer addresses are traps more often than pages."""

LONGEST_HOST = 253
"""Characters of a name of DNS (RFC 1035); to write a longer one in ASCII takes milliseconds each, and leads nowhere."""

_PORTS = {"http": 80, "https": 443}
_TRACKING = re.compile(r"(?:utm_\w+|fbclid|gclid|dclid|msclkid|mc_[ce]id|igshid|yclid)(?:=|$)")
_SESSION = re.compile(
    r"(?:(?:phpsessid|jsessionid|oscsid|zenid|aspsessionid[a-z]*|cfid|cftoken)(?:=.*)?"
    r"|(?:s|\w{0,20}(?:sid|sess|sess_?id|session|session_?id))=[0-9a-z]{16,})\Z",
    re.IGNORECASE,
)
_SESSION_IN_PATH = re.compile(r";(?:jsessionid|phpsessid|sid)=[^/;]*|/\(S\([0-9a-z]{16,}\)\)", re.IGNORECASE)
"""What names a visitor and no page: PHP, Java, osCommerce, ASP and ASP.NET put it into every address of who takes no cookie."""

_ITEM = re.compile("[^&;]+")
_PARAMETER = re.compile("([^&;]*)(?:[&;]|$)")
"""Of a query, which some servers part with ; (HTML 4.01, B.2.2)."""

_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEPT = "/%!$&'()*+,;=:@?"


def normalise(address: str, base: str = "") -> str | None:
    """The one spelling of an address (RFC 3986 section 6.2.2), joined with `base`; None if it is no http(s) address.

    Fragment, user name, default port and parameters that only track the reader or name a session are left out; the order of
    the query stays.
    """
    if len(address) > MAX_LENGTH:
        return None
    try:
        parts = urlsplit(urljoin(base, address.strip()))
        host, port = parts.hostname, parts.port
        if parts.scheme not in _PORTS or not host or len(host) > LONGEST_HOST:
            return None
        host = host if ":" in host else host.encode("idna").decode("ascii").rstrip(".").lower()
    except ValueError:  # UnicodeError is one
        return None
    if not host or re.search(r"[\s%/\\<>\"^`{|}]", host):
        return None
    host = f"[{host}]" if ":" in host else host
    netloc = host if port is None or port == _PORTS[parts.scheme] else f"{host}:{port}"
    query = parts.query
    if any(_names_a_visitor(item) for item in _ITEM.findall(query)):
        query = _PARAMETER.sub(lambda found: "" if _names_a_visitor(found[1]) else found[0], query).rstrip("&;")
    path = _escape(_without_dots(_SESSION_IN_PATH.sub("", parts.path)))
    return urlunsplit((parts.scheme, netloc, path, _escape(query), ""))


def _names_a_visitor(item: str) -> bool:
    return bool(_TRACKING.match(item) or _SESSION.match(item))


def origin(url: str) -> str:
    """Scheme, host and port of a normalised address, e.g. `https://example.org`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True)
class Scope:
    """The part of one site that is crawled: the addresses of its origin below the path of its start page."""

    start: str
    origin: str
    folder: str

    @classmethod
    def below(cls, site: str) -> Scope:
        """The scope of a start address. Raises ValueError if it is no http(s) address.

        `/sw/` and `/sw/index.html` mean all below `/sw/`; `/sw` means `/sw` itself and all below `/sw/`.
        """
        start = normalise(site)
        if start is None:
            raise ValueError(f"{site!r} is not an http or https address")
        path = urlsplit(start).path
        folder, _, last = path.rpartition("/")
        return cls(start, origin(start), f"{folder}/" if "." in last or not last else f"{path}/")

    def __contains__(self, url: str) -> bool:
        parts = urlsplit(url)
        inside = f"{parts.path}/".startswith(self.folder) or url == self.start
        return inside and f"{parts.scheme}://{parts.netloc}" == self.origin


def _escape(text: str) -> str:
    """Percent-encode what must be, in upper case, and decode what need not be."""

    def one(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if character in _UNRESERVED else match[0].upper()

    text = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", text)
    return quote(re.sub(r"%([0-9A-Fa-f]{2})", one, text), safe=_KEPT, errors="replace")


def _without_dots(path: str) -> str:
    """Remove `.` and `..` segments (RFC 3986 section 5.2.4); urljoin leaves those of absolute addresses alone."""
    segments = path.split("/")[1:]
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            kept = kept[:-1]
        elif segment != ".":
            kept.append(segment)
    if segments and segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
