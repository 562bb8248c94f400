"""Telephone numbers in running text, by the numbering plans of libphonenumber: written for abroad, or as at home."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Collection, Iterator

from phonenumbers import PhoneMetadata
from phonenumbers.phonenumberutil import COUNTRY_CODE_TO_REGION_CODE

_DASHES = "\u2010-\u2015\u2212\uff0d-"
_RUN = re.compile(rf"(?:[(（]?[+＋])?[(（]?(?<!\d)\d(?:[ .()（）{_DASHES}]{{0,3}}\d){{6,}}")
"""Seven digits and more, of any script, in groups."""
_GROUP = re.compile(r"\d+")
_MOST_GROUPS = 40
"""In one run: more of them are a table of figures."""
_MOST_DIGITS = 17
"""Fifteen after the plus (ITU-T E.164), or 00 before them."""

_LETTER = r"A-Za-zÀ-ÖØ-öø-ɏͰ-ӿḀ-ỿ_"
"""Of scripts that set words off by spaces, so that a number beside a letter is a code."""
_BEFORE = re.compile(rf"[{_LETTER}\d+@#]\Z|(?:\A|\D)\d{{1,6}}[.,:/{_DASHES}]\Z|[A-ZÀ-Þ][{_DASHES}]\Z|[/=]\Z(?<!\d/)")
_AFTER = re.compile(rf"[{_LETTER}\d%°]|[.,:]\d{{1,6}}(?!\d)|/\d{{3,6}}(?!\d)")
_OTHER_NUMBER = re.compile(r"(?:isbn|issn|ismn|doi|oclc|ean|orcid|arxiv)(?:[ -]?1[03])?[ :.#]{0,3}\Z", re.I)
_DECIMAL = re.compile(r"\d{1,3}\.\d{4,}|0[.,]\d+")
_YEARS = re.compile(rf"(?:1[89]|20)\d\d ?[ {_DASHES}] ?(?:1[89]|20)\d\d")
_DATE = re.compile(rf"\d{{1,2}}([./{_DASHES}])\d{{1,2}}\1\d{{4}}")
_MIXED = ((2, 3, 2, 2), (2, 2, 3, 2), (3, 2, 2, 2))
_PAIRS = (2, 2, 2, 2)
"""Groups in which amounts are not written."""

_WORD = re.compile(
    r"(?<![^\W\d_])(?:t[eé]l|talif|taleef|tarho|fon|simu|whatsapp|cel[lu]|sms|fax|hotline|call|contact|num[eé]ro|nambala|nimero"
    r"|piga|waya|kira|ekwent|kpọ|finday|antso|founela|fowun|letsetsa|shayela|terefone|garac|wac(?![^\W\d_])|woote|appel|noddu|wele"
    r"|imban|tumeni|fɛrɛ|benga)|phone|foon|mobil|cingo|mnxeba|mohala|mogala|hamagara|bilbil|telef"
    r"|ስልክ|ቴሌ|ደውል|هاتف|تلفون|اتصل|جوال|موبايل|موبایل|تلفن|فون|电话|電話|手机|拨打|โทร|ໂທ|ទូរស័ព្ទ|ဖုန်း|тел|звон|फोन|फ़ोन|फ़ोन"
    r"|मोबाइल|ফোন|মোবাইল|ߕߋߟߋ|𞤼𞤫𞤤",
    re.I,
)
_FORMER = {225: ("01", "05", "07", "21", "25", "27"), 229: ("01",)}
"""Digits that were put before all numbers of a country (in 2021, in 2024), which older texts have without them."""
_WORD_BEFORE, _WORD_AFTER = 30, 12
"""Characters in which a telephone must be named beside a number that begins like any other."""


class Phones:
    """Finds the numbers of the countries with the given calling codes; those that begin with a plus or 00 of all countries."""

    def __init__(self, countries: Collection[int]) -> None:
        self._countries = tuple(countries)

    def mask(self, text: str) -> tuple[str, int]:
        """The text with [phone] for each number, and how many there were."""
        parts, at = [], 0
        for begin, end in self._found(text):
            parts += [text[at:begin], "[phone]"]
            at = end
        return "".join([*parts, text[at:]]), len(parts) // 2

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        for run in _RUN.finditer(text):
            groups = [(group.start(), group.end()) for group in _GROUP.finditer(text, run.start(), run.end())]
            before = text[max(0, run.start() - _WORD_BEFORE) : run.start()]
            if len(groups) > _MOST_GROUPS or _OTHER_NUMBER.search(before):
                continue
            first = 0
            while first < len(groups):
                last = self._last(text, run.start(), groups, first)
                if last is None:
                    first += 1
                else:
                    yield _with_signs(text, run.start(), groups[first][0], groups[last][1])
                    first = last + 1

    def _last(self, text: str, start: int, groups: list[tuple[int, int]], first: int) -> int | None:
        """The last group of the longest number that begins with the group `first`."""
        begin = groups[first][0]
        outside = _with_signs(text, start, begin, groups[-1][1])[0]
        if _BEFORE.search(text[max(0, outside - 9) : outside]) or (first and " " not in text[groups[first - 1][1] : begin]):
            return None
        size, last = 0, first
        ends: list[int] = []
        while last < len(groups) and (size := size + groups[last][1] - groups[last][0]) <= _MOST_DIGITS:
            ends.append(last)
            last += 1
        for last in reversed(ends):
            end = groups[last][1]
            after = text[end : end + 8]
            separated = last + 1 == len(groups) or " " in text[end : groups[last + 1][0]]
            if not separated or _AFTER.match(after) or _is_row(groups, first, last):
                continue
            if self._is_number(text, groups[first : last + 1]):
                return last
        return None

    def _is_number(self, text: str, groups: list[tuple[int, int]]) -> bool:
        begin, end = groups[0][0], groups[-1][1]
        digits = "".join(_ascii(text[start:stop]) for start, stop in groups)
        if len(digits) < 7 or _DECIMAL.fullmatch(text, begin, end) or _DATE.match(text, begin, end):
            return False
        if text[begin - 1 : begin] in ("+", "＋"):
            return _is_international(digits)
        if digits.startswith("00"):
            return _is_international(digits[2:])
        if digits.startswith("0"):
            alone = groups[0][1] - begin == 1 and text[begin - 1 : begin] not in ("(", "（")  # 0-306-40615-7 is a book
            return not alone and any(_plan(code).holds(digits) for code in self._countries)
        if _YEARS.fullmatch(text, begin, end):
            return False
        sizes = _sizes(groups) if "." not in text[begin:end] else ()
        area = text[begin - 1 : begin] in ("(", "（") and re.search("[)）]", text[begin:end])
        if sizes in _MIXED or area or _WORD.search(text, max(0, begin - _WORD_BEFORE), end + _WORD_AFTER):
            return any(_plan(code).holds(_at_home(digits, code)) for code in self._countries)
        in_pairs = sizes == _PAIRS and not _is_rising(text, groups)
        for code in self._countries:
            number = _at_home(digits, code)
            if (in_pairs or number != digits) and _plan(code).is_mobile(number):
                return True
        return False


class _Plan:
    """Which national numbers a country has."""

    def __init__(self, code: int) -> None:
        regions = [region for region in COUNTRY_CODE_TO_REGION_CODE.get(code, ()) if region != "001"]
        about = [PhoneMetadata.metadata_for_region(region) for region in regions]
        kinds = ("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "voip", "uan")
        every = [getattr(data, kind) for data in about for kind in kinds if data is not None]
        self._mobile = _any(data.mobile for data in about if data is not None)
        self._every = _any(every)
        self._former = ("", *_FORMER.get(code, ()))

    def holds(self, digits: str) -> bool:
        """Whether these digits are a number, with the 0 in front that is dialled at home or without it."""
        return any(self._every.fullmatch(put + digits) for put in self._former) or (
            digits.startswith("0") and self._every.fullmatch(digits[1:]) is not None
        )

    def is_mobile(self, digits: str) -> bool:
        """Whether these digits are a number of a mobile telephone."""
        return any(self._mobile.fullmatch(put + digits) for put in self._former)


def _any(kinds: object) -> re.Pattern[str]:
    patterns = [kind.national_number_pattern for kind in kinds if kind is not None and kind.national_number_pattern]  # type: ignore[attr-defined]
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or r"(?!)")


@functools.cache
def _plan(code: int) -> _Plan:
    return _Plan(code)


def _is_international(digits: str) -> bool:
    """Whether a country's code and one of its numbers are written here; ITU's codes have one to three digits."""
    codes = (int(digits[:length]) for length in (1, 2, 3))
    return any(code in COUNTRY_CODE_TO_REGION_CODE and _plan(code).holds(digits[len(str(code)) :]) for code in codes)


def _at_home(digits: str, code: int) -> str:
    """Without the code of the country, as it is written without a plus too."""
    return digits.removeprefix(str(code)) if len(digits) > 10 else digits


def _sizes(groups: list[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(stop - start for start, stop in groups)


def _is_row(groups: list[tuple[int, int]], first: int, last: int) -> bool:
    """Whether this is cut out of a row of small numbers: results, a lottery."""
    beside = [*groups[max(0, first - 1) : first], *groups[last + 1 : last + 2]]
    return max(_sizes(groups[first : last + 1])) <= 2 and any(size <= 2 for size in _sizes(beside))


def _is_rising(text: str, groups: list[tuple[int, int]]) -> bool:
    numbers = [int(text[start:stop]) for start, stop in groups]
    return all(one < following for one, following in itertools.pairwise(numbers))


def _ascii(digits: str) -> str:
    return "".join(str(int(digit)) for digit in digits)


def _with_signs(text: str, start: int, begin: int, end: int) -> tuple[int, int]:
    """The span with the plus and the bracket before its first digit; a bracket around the whole number is no part of it."""
    while begin > start and text[begin - 1] in "+＋(（":
        inside = text[begin:end]
        if text[begin - 1] in "(（" and len(re.findall("[)）]", inside)) <= len(re.findall("[(（]", inside)):
            break
        begin -= 1
    return begin, end
