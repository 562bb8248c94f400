"""Personal data that a pattern can find: e-mail and IP addresses, cards, identity numbers, M-Pesa receipts, telephones."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Collection

from tasks.clean.phones import Phones
from tasks.clean.signs import ADDRESS, ALL, AT, CODE, NUMBER

_LATIN = r"A-Za-z0-9À-ÖØ-öø-ɏ\u0300-\u036fḀ-ỿ"
_OTHER = (
    r"[^\x00-\x7f\sÀ-ÖØ-öø-ɏ\u0300-\u036fḀ-ỿ\u00a0-\u00bf×÷،؛؟۔।॥፡-፨។៕\u2000-\u206f\u3000-\u303f\uff00-\uff0f\uff1a-\uff20]"
)
"""Neither ASCII nor Latin, a space or punctuation: letters and marks of all other scripts."""
_DOMAIN = (
    rf"(?:(?:[{_LATIN}-]{{1,63}}\.)+(?:(?i:xn--)[A-Za-z0-9-]{{2,59}}|[A-Za-z]{{2,24}})(?![{_LATIN}_])"
    rf"|(?:(?:{_OTHER}|[0-9-]){{1,63}}[.．])+{_OTHER}{{2,24}}(?!{_OTHER}|[\w-]))"
)
_LOCAL = rf"(?:(?<![{_LATIN}_.+%-])[{_LATIN}_.+%-]{{1,64}}|(?<!{_OTHER})(?<![\w.+%-])(?:{_OTHER}|[0-9_.+%-]){{1,64}})"
"""Of one script, so that an address in a script without spaces ends where that goes on: ສົ່ງຫາjuma@example.comເພື່ອ."""
_EMAIL = re.compile(rf"{_LOCAL}[@＠]{_DOMAIN}")
_EMAIL_CORE = re.compile(r"[@＠](?<=[^\s@][@＠])[^\s@.．]{1,63}[.．]")
"""What every address holds."""
_DOT = r"(?:\.| ?(?:\[ ?dot ?\]|\( ?dot ?\)) ?)"
_HIDDEN_EMAIL = re.compile(
    rf"(?<![{_LATIN}_.+-])[{_LATIN}_.+-]{{1,64}} ?(?:\[ ?(?:at|@) ?\]|\( ?(?:at|@) ?\)) ?"
    rf"(?:[{_LATIN}-]{{1,63}}{_DOT})+[A-Za-z]{{2,24}}(?![{_LATIN}_])",
    re.IGNORECASE,
)
"""juma [at] example.com, juma(at)example(dot)com"""
_HIDDEN_AT = re.compile(r"\[ ?(?:at|@) ?\]|\( ?(?:at|@) ?\)", re.IGNORECASE)

_WORD = rf"{_LATIN}_Ͱ-ӿ"
"""Of scripts that set words off by spaces: beside such a letter stands a version or a name, no address."""
_IPV4 = re.compile(rf"(?<![{_WORD}.,-])(?<!\d:)(?<!(?<!/)/)(?:[0-9]{{1,3}}\.){{3}}[0-9]{{1,3}}(?![{_WORD}-]|[.,][0-9])")
_IPV6 = re.compile(
    rf"(?<![{_WORD}.])(?<!(?<![vV])[0-9a-fA-F:]:)[23][0-9a-fA-F]{{3}}(?::[0-9a-fA-F]{{0,4}}){{2,7}}(?![{_WORD}:]|[./][0-9])"
)
"""Global addresses all begin with the bits 001 (RFC 4291, IANA): ratios, times and names in programs do not."""
_IP_NAMED = re.compile(r"(?<![^\W_])ips?(?![^\W_])", re.I)
_IP_OTHERS = re.compile(
    r"(?:version|versión|toleo|release|firmware|build|section|kifungu|sehemu|clause|item|article|§)\W{1,2}\Z", re.I
)
_IP_DISTANCE = 16

_CARD = re.compile(
    r"(?<![\w.,+/-])[2-6](?:[0-9]{12,18}|[0-9]{3}(?:([ -])[0-9]{4})(?:\1[0-9]{4}){2}|[0-9]{3}([ -])[0-9]{6}\2[0-9]{5})"
    r"(?![\w/-]|[.,][0-9])"
)
_CARD_PREFIX = re.compile(r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|6(?:011|4[4-9]|5|2)|506[01]")
"""Visa, Mastercard, American Express, Discover, UnionPay, Verve (ISO/IEC 7812 issuer numbers)."""
_IBAN = re.compile(r"(?<![\w-])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![\w-])")

_ID_NAMES = (
    r"kitambulisho|nida|id|i\.d\.|identity card|national identity|national identification|huduma namba|huduma number"
    r"|nin|bvn|passport|pasipoti|hati ya kusafiria"
)
_ID = re.compile(
    rf"(?<![\w-])(?:{_ID_NAMES})(?![\w-])(?: (?:cha|ya) [^\W\d_]{{3,12}})?"  # kitambulisho cha taifa
    r"(?: (?:no|nos|nr|num|number|numbers|namba|nambari|card|ni|is)(?![\w-])\.?){0,3} ?[:#.=-]? ?"
    r"(?P<number>[0-9]{8}-?[0-9]{5}-?[0-9]{5}-?[0-9]{2}|[0-9] [0-9]{4} [0-9] [0-9]{7} [0-9] [0-9]{2}|[0-9]{16}|[0-9]{11}"
    r"|[0-9]{7,8}|[A-Z]{1,2}[0-9]{7})"
    r"(?![\w/-]|[.,][0-9])",
    re.IGNORECASE,
)
"""An identity number where its kind is named: Tanzania (20 digits), Rwanda (16), Nigeria (11), Kenya (7 or 8), passports."""

_RECEIPT = re.compile(r"(?<![\w/.-])(?=[A-Z0-9]{0,9}[0-9])[A-Z](?=[A-Z0-9]{9}(?![\w/-]))[A-Z0-9]{9}")
_PAYMENT = re.compile(r"m-?pesa|imethibitishwa|umepokea|umetuma|confirmed|muamala|transaction", re.IGNORECASE)
_PAYMENT_DISTANCE = 40
"""Characters before or after a receipt number in which a payment must be named."""

TYPES = ("email", "ip", "card", "id", "mpesa", "phone")
"""In the order in which they are looked for: a number that is named comes before one that only looks like one."""


class Masks:
    """Replaces personal data of the given types (of `TYPES`) by tags such as [email].

    `countries` are the calling codes whose telephone numbers are known; without one there is no type "phone".
    """

    def __init__(self, types: Collection[str] = TYPES, countries: Collection[int] = ()) -> None:
        rules: dict[str, tuple[int, Callable[[str], tuple[str, int]]]] = {
            "email": (AT, _emails),
            "ip": (ADDRESS, _addresses),
            "card": (NUMBER, _cards),
            "id": (NUMBER, _identities),
            "mpesa": (CODE, _receipts),
        }
        if countries:
            rules["phone"] = (NUMBER, Phones(countries).mask)
        self._rules = {name: rules[name] for name in TYPES if name in types and name in rules}

    def apply(self, text: str, counts: Counter[str], signs: int = ALL) -> str:
        """The text with its personal data masked; what was found is added to `counts` by type.

        `signs` (see `tasks.clean.signs`) says which types the text may hold.
        """
        for name, (sign, rule) in self._rules.items():
            if signs & sign:
                text, found = rule(text)
                if found:
                    counts[name] += found
        return text


def _emails(text: str) -> tuple[str, int]:
    found = hidden = 0
    if _EMAIL_CORE.search(text):
        text, found = _EMAIL.subn("[email]", text)
    if _HIDDEN_AT.search(text):
        text, hidden = _HIDDEN_EMAIL.subn("[email]", text)
    return text, found + hidden


def _addresses(text: str) -> tuple[str, int]:
    text, four = _replace(_IPV4, "[ip]", text, _is_ipv4)
    text, six = _replace(_IPV6, "[ip]", text, lambda match: _is_public(match.group()))
    return text, four + six


def _is_ipv4(match: re.Match[str]) -> bool:
    """A public address; parts of one digit and none of three are how versions, sections and items are numbered (84.3.40.9)."""
    lengths = sorted(len(part) for part in match.group().split("."))
    before = match.string[max(0, match.start() - _IP_DISTANCE) : match.start()]
    plausible = lengths[0] > 1 or (lengths[1] > 1 and lengths[3] > 2) or _IP_NAMED.search(before)
    return bool(plausible) and not _IP_OTHERS.search(before) and _is_public(match.group())


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def _cards(text: str) -> tuple[str, int]:
    text, cards = _replace(_CARD, "[card]", text, _is_card)
    text, accounts = _replace(_IBAN, "[card]", text, _is_iban)
    return text, cards + accounts


def _is_card(match: re.Match[str]) -> bool:
    """The check digit is right (ISO/IEC 7812-1, Luhn) and some issuer's numbers begin so."""
    digits = [int(character) for character in match.group() if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0 and _CARD_PREFIX.match(match.group()) is not None


def _is_iban(match: re.Match[str]) -> bool:
    """The check number is right (ISO 13616: modulo 97)."""
    account = match.group().replace(" ", "")
    return 15 <= len(account) <= 34 and int("".join(str(int(char, 36)) for char in account[4:] + account[:4])) % 97 == 1


def _identities(text: str) -> tuple[str, int]:
    return _ID.subn(lambda match: match.group()[: match.start("number") - match.start()] + "[id]", text)


def _receipts(text: str) -> tuple[str, int]:
    def named(match: re.Match[str]) -> bool:
        around = text[max(0, match.start() - _PAYMENT_DISTANCE) : match.end() + _PAYMENT_DISTANCE]
        return _PAYMENT.search(around) is not None

    return _replace(_RECEIPT, "[mpesa]", text, named)


def _replace(pattern: re.Pattern[str], tag: str, text: str, accept: Callable[[re.Match[str]], bool]) -> tuple[str, int]:
    """`re.subn` for the matches that `accept` takes."""
    found = 0

    def instead(match: re.Match[str]) -> str:
        nonlocal found
        if not accept(match):
            return match.group()
        found += 1
        return tag

    return pattern.sub(instead, text), found
