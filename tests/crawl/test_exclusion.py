"""What a robots.txt means to this crawler, as a table: all that RFC 9309 decides, and what Google's parser (its published
tests, and those of Protego, in cases of our own) reads into files that the RFC leaves open.

Left out, because neither the RFC nor politeness asks for it: Google's `index.html` that stands for its folder; its limit of
16,664 bytes a line (ours is that of the file); Request-rate, Visit-time and Host (Yandex, Seznam), which no RFC knows;
Protego's agents that match by their beginning (RFC 9309, 2.2.1, compares the whole product token), its patterns that start
with neither `/` nor `*` (2.2.2: a path begins with `/`), and its escapes of reserved characters that match unescaped ones in
a path (2.2.2 keeps them apart; in a query both spellings are one, as in its second example).
"""

from __future__ import annotations

import codecs
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.crawl.site.robots import PARSED_BYTES, SITEMAPS, parse
from tasks.crawl.site.rules import Rules
from tasks.crawl.site.rules import parse as rules_of

HOST = "https://mfano.or.tz"
ALL = "User-agent: *\n"
OURS = "User-agent: lugha\n"


def allowed(robots: str | bytes, path: str) -> bool:
    return parse(robots if isinstance(robots, bytes) else robots.encode()).allows(HOST + path)


# (robots.txt, path, may be fetched): lines and groups
GROUPS = [
    ("", "/a", True),
    ("Disallow: /\n", "/a", True),  # no group
    ("Disallow: /\n" + OURS + "Disallow: /b\n", "/a", True),
    (OURS + "Disallow: /\n", "/a", False),
    ("user-agent: lugha\ndisallow: /\n", "/a", False),
    ("USER-AGENT: LUGHA\nDISALLOW: /\n", "/a", False),
    ("uSeR-aGeNt:LuGhA\ndIsAlLoW:/\n", "/a", False),
    ("\t User-agent \t: \t lugha \t\n  Disallow  :  /a  \n", "/a", False),
    (OURS + "Disallow: /a # sababu\n", "/a", False),
    ("User-agent: lugha # sisi\n# maelezo\n\nDisallow: /a\n", "/a", False),
    ("#User-agent: lugha\n#Disallow: /\n", "/a", True),
    (OURS + "Disallow: /a#b\n", "/a", False),
    ("User-agent: lugha/1.0\nDisallow: /\n", "/a", False),
    ("User-agent: lugha/2.1 (+https://mfano.or.tz)\nDisallow: /\n", "/a", False),
    ("User-agent: lugha bot\nDisallow: /\n", "/a", False),
    ("User-agent: lugha2\nDisallow: /\n", "/a", False),  # a product token is letters, _ and -
    ("User-agent: lugha-news\nDisallow: /\n", "/a", True),
    ("User-agent: lugh\nDisallow: /\n", "/a", True),
    ("User-agent: lughabot\nDisallow: /\n", "/a", True),
    ("User-agent: other lugha\nDisallow: /\n", "/a", True),
    ("User-agent: Mozilla/5.0 (compatible; lugha)\nDisallow: /\n", "/a", True),
    ("User agent: lugha/1.0\nDisallow: /\n", "/a", False),
    ("Useragent: lugha\nDisallow: /\n", "/a", False),
    ("User_agent: lugha\nDisallow: /\n", "/a", True),
    ("User-agent lugha\nDisallow /a\n", "/a", False),
    (OURS + "Disallow /a b\n", "/a", True),
    ("".join((OURS, "Dissallow: /a\nDisalow: /b\nDissalow: /c\nDiasllow: /d\nDisallaw: /e\n")), "/d", False),
    (OURS + "Dis-allow: /\n", "/a", True),
    ("User-agent: *\nDisallow: /\n", "/a", False),
    ("User-agent: * baz\nDisallow: /\n", "/a", False),
    ("User-agent: *baz\nDisallow: /\n", "/a", True),
    ("User-agent: *\u00a0\nDisallow: /\n", "/a", False),
    ("User-agent: **\nDisallow: /\n", "/a", True),
    (ALL + "Disallow: /\n\n" + OURS + "Disallow: /p\n", "/a", True),
    (OURS + "Disallow: /p\n\n" + ALL + "Disallow: /\n", "/a", True),
    (OURS + "\n" + ALL + "Disallow: /\n", "/a", False),  # agents of one group, a blank line between them
    (OURS + "Disallow:\n\n" + ALL + "Disallow: /\n", "/a", True),
    (OURS + "Allow:\n" + ALL + "Disallow: /\n", "/a", True),
    ("User-agent: a\nUser-agent: lugha\nUser-agent: b\nDisallow: /\n", "/a", False),
    ("User-agent: lugha\nUser-agent: *\nDisallow: /a\n", "/a", False),
    (OURS + "Disallow: /a\nUser-agent: b\nDisallow: /\nUser-agent: lugha\nDisallow: /c\n", "/c", False),
    (OURS + "Disallow: /a\nUser-agent: b\nDisallow: /\nUser-agent: lugha\nDisallow: /c\n", "/a", False),
    (OURS + "Disallow: /a\nUser-agent: b\nDisallow: /\nUser-agent: lugha\nDisallow: /c\n", "/d", True),
    (ALL + "Disallow: /a\n\n" + ALL + "Disallow: /b\n", "/a", False),
    # a line that is none of the protocol ends no group
    ("User-agent: lugha\nCrawl-delay: 2\nUser-agent: b\nDisallow: /\n", "/a", False),
    ("User-agent: lugha\nSitemap: https://x/s.xml\nUser-agent: b\nDisallow: /\n", "/a", False),
    ("User-agent: lugha\nHost: mfano.or.tz\nUser-agent: b\nDisallow: /\n", "/a", False),
    ("User-agent: lugha\nupuuzi\nUser-agent: b\nDisallow: /\n", "/a", False),
    (OURS + "Noindex: /x\nClean-param: s /\nDisallow: /a\n", "/a", False),
    ("Sitemap: https://x/s.xml\n" + OURS + "Sitemap: https://x/t.xml\nDisallow: /a\n", "/a", False),
    (OURS + "Disallow: /a\nSitemap: https://x/s.xml\nDisallow: /b\n", "/b", False),
    (OURS + "Disallow: /a\nupuuzi: ndiyo\nDisallow: /b\n", "/b", False),
    (OURS + ": /\nDisallow: /b\n", "/a", True),
    (OURS + ":\n::\n:Disallow: /\n", "/a", True),
    (OURS + "Disallow: http://mfano.or.tz/a\n", "/a", True),
    ("<!DOCTYPE html><html>\n<p>User-agent: lugha</p>\n<p>Disallow: /</p></html>", "/a", True),
]

# (pattern of Disallow, path, does it match)
PATTERNS = [
    ("/", "/", True),
    ("/", "/a/b?c", True),
    ("/fish", "/fish.html", True),
    ("/fish", "/fish/salmon", True),
    ("/fish", "/Fish", False),
    ("/fish", "/catfish", False),
    ("/fish", "/?id=fish", False),
    ("/fish*", "/fishheads/yummy", True),
    ("/fish/", "/fish", False),
    ("/fish/", "/fish/?id=1", True),
    ("/*.php", "/folder/any.php.file.html", True),
    ("/*.php", "/", False),
    ("/*.php$", "/a.php", True),
    ("/*.php$", "/a.php?x", False),
    ("/*.php$", "/a.php.php", True),
    ("/fish*.php", "/fishheads/catfish.php?id=1", True),
    ("/fish*.php", "/Fish.PHP", False),
    ("/a$", "/a", True),
    ("/a$", "/a/", False),
    ("/a$", "/ab", False),
    ("/a*b$", "/a", False),
    ("/a*b*c", "/a1b2c3", True),
    ("/a*b*c", "/a1c2b3", False),
    ("/a**b", "/ab", True),
    ("/*a*a*a$", "/aaa", True),
    ("/*a*a*a*a$", "/aaa", False),
    ("/ab*ab$", "/ab", False),
    ("*", "/a", True),
    ("*/a", "/b/a", True),
    ("*.txt", "/b.txt", True),
    ("$", "/", False),
    ("/$", "/", True),
    ("/$", "/a", False),
    ("/*$", "/a", True),
    ("a", "/a", False),
    ("/a$b", "/a$bc", True),
    ("/a$b", "/a", False),
    ("/foo-%24", "/foo-$", True),
    ("/file-%2A.html", "/file-*.html", True),
    ("/a%2Ab", "/axb", False),
    ("/?", "/", False),
    ("/?", "/?x", True),
    ("/a?", "/a?", True),
    ("/*?", "/a?b", True),
    ("/a;b", "/a;b", True),
    ("/%7Ejoe", "/~joe/i.html", True),
    ("/~joe", "/%7ejoe/i.html", True),
    ("/a%3cd", "/a%3Cd", True),
    ("/a%3Cd", "/a%3cd", True),
    ("/a%2fb", "/a%2Fb", True),
    ("/a%2fb", "/a/b", False),
    ("/a/b", "/a%2fb", False),
    ("/foo/bar/%62%61%7A", "/foo/bar/baz", True),
    ("/foo/bar/baz", "/foo/bar/%62%61%7a", True),
    ("/foo/bar/ツ", "/foo/bar/%E3%83%84", True),
    ("/foo/bar/%E3%83%84", "/foo/bar/ツ", True),
    ("/foo/bar/%e3%83%84", "/foo/bar/%E3%83%84", True),
    ("/foo/bar?baz=quz", "/foo/bar?baz=quz", True),
    ("/foo/bar?baz=https://foo.bar", "/foo/bar?baz=https%3A%2F%2Ffoo.bar", True),
    ("/foo/bar?baz=https%3A%2F%2Ffoo.bar", "/foo/bar?baz=https://foo.bar", True),
    ("/a b", "/a%20b", True),
    ("/100%", "/100%25", True),
    ("", "/a", False),
]

# (rules, path, may be fetched): the longest rule decides, Allow if two are as long
PRECEDENCE = [
    ("Allow: /p\nDisallow: /", "/page", True),
    ("Disallow: /\nAllow: /p", "/page", True),
    ("Allow: /folder\nDisallow: /folder", "/folder/page", True),
    ("Disallow: /folder\nAllow: /folder", "/folder/page", True),
    ("Allow: /page\nDisallow: /*.htm", "/page.htm", False),
    ("Allow: /page\nDisallow: /*.ph", "/page.php5", True),
    ("Allow: /$\nDisallow: /", "/", True),
    ("Allow: /$\nDisallow: /", "/page.htm", False),
    ("Disallow: /x/page.html\nAllow: /x/", "/x/page.html", False),
    ("Allow: /x/page.html\nDisallow: /x/", "/x/page.html", True),
    ("Disallow: \nAllow: ", "/a", True),
    ("Disallow: /\nAllow: ", "/a", False),
    ("Disallow: /\nDisallow: ", "/a", False),
    ("Allow: /*/b\nDisallow: /a/", "/a/b", True),
    ("Disallow: /%C3%A9\nAllow: /é", "/%C3%A9", True),
]

ENDS = ["\n", "\r", "\r\n"]
NO_ENDS = ["\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize(("robots", "path", "expected"), GROUPS)
def test_lines_and_groups(robots: str, path: str, expected: bool) -> None:
    for end in ENDS:
        assert allowed(robots.replace("\n", end), path) is expected


@pytest.mark.parametrize(("pattern", "path", "matches"), PATTERNS)
def test_paths(pattern: str, path: str, matches: bool) -> None:
    assert allowed(f"{ALL}Disallow: {pattern}\n", path) is not matches
    assert allowed(f"{ALL}Disallow: /\nAllow: {pattern}\n", path) is matches


@pytest.mark.parametrize(("lines", "path", "expected"), PRECEDENCE)
def test_precedence(lines: str, path: str, expected: bool) -> None:
    assert allowed(f"{ALL}{lines}\n", path) is expected


@pytest.mark.parametrize("blank", NO_ENDS)
def test_nothing_else_ends_a_line(blank: str) -> None:
    assert allowed(f"{ALL}Disallow: /b{blank}Disallow: /a\n", "/a")
    assert not allowed(f"{ALL}# {blank} maelezo\nDisallow: /a\n", "/a")


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b"\xef\xbb", b"\xef"])
def test_a_byte_order_mark_counts_for_nothing_whole_or_in_part(mark: bytes) -> None:
    assert not allowed(mark + f"{OURS}Disallow: /\n".encode(), "/a")


def test_what_is_no_byte_order_mark_breaks_its_line() -> None:
    assert allowed(b"\xef\x11\xbf" + f"{OURS}Disallow: /\n".encode(), "/a")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("mark", "encoding"), [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"), (b"", "utf-16-le")]
)
def test_utf_16_is_read_too(mark: bytes, encoding: str, end: str) -> None:
    robots = f"{OURS}Disallow: /siri\n".replace("\n", end)
    assert not allowed(mark + robots.encode(encoding), "/siri")


@pytest.mark.parametrize("place", range(0, len(f"{OURS}Disallow: /siri"), 5))
def test_a_nul_hides_no_rule(place: int) -> None:
    robots = f"{OURS}Disallow: /siri\n".encode()
    assert not allowed(robots[:place] + b"\0" + robots[place:], "/siri")


def test_rubbish_around_a_rule_hides_it_not() -> None:
    rubbish = bytes(range(128, 256)) * 3
    assert not allowed(rubbish + b"\n" + f"{OURS}Disallow: /siri\n".encode() + rubbish, "/siri")


@pytest.mark.parametrize(
    ("lines", "delay"),
    [
        ("Crawl-delay: 5", 5.0),
        ("crawl-delay : 2.5 # polepole", 2.5),
        ("Crawl-delay: -1", 0.0),
        ("Crawl-delay: nan", 0.0),
        ("Crawl-delay: inf", 0.0),
        ("Crawl-delay: polepole", 0.0),
        ("Crawl-delay:", 0.0),
        ("Crawl-delay: 3\nCrawl-delay: 1", 3.0),
    ],
)
def test_delays(lines: str, delay: float) -> None:
    assert parse(f"{ALL}{lines}\n".encode()).delay == delay
    assert parse(f"User-agent: mwingine\n{lines}\n".encode()).delay == 0


def test_a_file_without_line_feeds_is_cut_at_a_line_too() -> None:
    body = b"User-agent: *\rDisallow: /siri\r" + b"# maelezo\r" * (PARSED_BYTES // 10)
    assert not parse(body).allows(f"{HOST}/siri")


def kept(rules: Rules) -> int:
    return len(rules.patterns)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("".join(f"User-agent: a{n}\n" for n in range(12_000)) + "Disallow: /x\n" * 12_000, id="agents-x-rules"),
        pytest.param("".join(f"User-agent: a{n}\nDisallow: /{n}\n" for n in range(12_000)), id="many-groups"),
        pytest.param("User-agent: *\n" * 34_000 + "Disallow: /x\n", id="one-agent-often"),
        pytest.param("User-agent: *\n" + "Disallow: /x\n" * 35_000, id="one-rule-often"),
        pytest.param("User-agent: *\nDisallow: /" + "*a" * 240_000 + "\n", id="asterisks"),
        pytest.param("User-agent: *\nDisallow: /" + "*" * 480_000 + "\n", id="nothing-but-asterisks"),
        pytest.param("User-agent: *\nDisallow: /" + "%41" * 160_000 + "\n", id="escapes"),
        pytest.param(":" * 500_000, id="colons"),
        pytest.param(" " * 500_000, id="blanks"),
        pytest.param("\r" * 500_000, id="line-ends"),
        pytest.param("#" * 500_000, id="comments"),
    ],
)
def test_a_hostile_file_leaves_little_behind(body: str) -> None:
    found = rules_of(body.encode()[:PARSED_BYTES])
    assert kept(found) <= 1
    assert found.allows(f"{HOST}/" + "a" * 1900) in (True, False)


def test_many_rules_for_us_are_all_kept_and_many_sitemaps_are_not() -> None:
    body = ALL + "".join(f"Disallow: /{n}/\n" for n in range(20_000)) + "".join(f"Sitemap: /{n}.xml\n" for n in range(5000))
    found = parse(body.encode(), f"{HOST}/robots.txt")
    assert not found.allows(f"{HOST}/19999/a")
    assert len(found.sitemaps) == SITEMAPS


def slowly(pattern: str, path: str) -> bool:
    """Whether a pattern matches, by trying every place of every asterisk."""
    if not pattern:
        return True
    if pattern == "$":
        return not path
    if pattern[0] == "*":
        return any(slowly(pattern[1:], path[at:]) for at in range(len(path) + 1))
    return bool(path) and pattern[0] == path[0] and slowly(pattern[1:], path[1:])


@given(st.text("ab*", max_size=7), st.sampled_from(["", "$"]), st.text("ab", max_size=7))
def test_patterns_match_as_their_definition_says(pattern: str, end: str, path: str) -> None:
    rule = f"/{pattern}{end}"
    assert allowed(f"{ALL}Disallow: {rule}\n", f"/{path}") is not slowly(rule, f"/{path}")


@given(st.permutations(["User-agent: a", "User-agent: lugha", "User-agent: *", "Disallow: /x", "Allow: /x/y", "upuuzi", ""]))
def test_groups_are_what_a_plain_reading_of_the_grammar_says(lines: list[str]) -> None:
    groups: list[tuple[set[str], list[str]]] = []
    for rule, run in itertools.groupby(
        (line for line in lines if line and line != "upuuzi"), lambda line: not line.startswith("User-agent")
    ):
        if not rule:
            groups.append(({line.partition(": ")[2] for line in run}, []))
        elif groups:
            groups[-1][1].extend(run)
    ours = [rules for agents, rules in groups if "lugha" in agents] or [rules for agents, rules in groups if "*" in agents]
    found = [line for rules in ours for line in rules]
    for path in ("/x", "/x/y"):
        expected = not ("Disallow: /x" in found and not (path == "/x/y" and "Allow: /x/y" in found))
        assert allowed("\n".join(lines), path) is expected
