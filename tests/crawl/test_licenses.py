from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml.html import document_fromstring

from tasks.crawl.pages.licenses import license_id, license_of

BY = "https://creativecommons.org/licenses/by/4.0/"


@pytest.mark.parametrize(
    ("stated", "spdx"),
    [
        ("https://creativecommons.org/licenses/by-sa/4.0/", "CC-BY-SA-4.0"),
        ("//creativecommons.org/licenses/by-sa/3.0", "CC-BY-SA-3.0"),
        ("http://creativecommons.org/licenses/by-nc-nd/2.5/za/deed.sw", "CC-BY-NC-ND-2.5"),
        ("https://creativecommons.org/licenses/by-nd-nc/1.0/", "CC-BY-NC-ND-1.0"),
        ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "CC-PDM-1.0"),
        ("https://creativecommons.org/licenses/", None),
        ("https://creativecommons.org/licenses/by/9.0/", None),
        ("https://creativecommons.org/licenses/by-nd-sa/4.0/", None),
        ("https://creativecommons.org/publicdomain/zero/2.0/", None),
        ("https://mfano.or.tz/licenses/by/4.0/", None),
        ("https://mfano.or.tz/?u=https://creativecommons.org/licenses/by/4.0/", None),
        ("CC BY-SA 4.0", "CC-BY-SA-4.0"),
        ("CC-BY-NC-SA-3.0", "CC-BY-NC-SA-3.0"),
        ("Creative Commons Attribution-ShareAlike 4.0 International License", "CC-BY-SA-4.0"),
        ("Creative Commons Attribution-NonCommercial-NoDerivatives 4.0", "CC-BY-NC-ND-4.0"),
        ("Maandishi yote ni CC0 1.0", "CC0-1.0"),
        ("CC BY", None),
        ("CC BY-SA 4.05", None),
        ("Kampuni ya ABCC by 4.0", None),
        ("", None),
    ],
)
def test_spdx_id_of_an_address_or_a_name(stated: str, spdx: str | None) -> None:
    assert license_id(stated) == spdx


@pytest.mark.parametrize(
    ("html", "spdx"),
    [
        (f"<link rel='license' href='{BY}'>", "CC-BY-4.0"),
        (f"<a rel='noopener LICENSE' href='{BY}'>leseni</a>", "CC-BY-4.0"),
        (f"<a property='cc:license' href='{BY}'>leseni</a>", "CC-BY-4.0"),
        (f"<meta name='DC.rights' content='{BY}'>", "CC-BY-4.0"),
        ("<meta name='dcterms.license' content='CC BY-SA 4.0'>", "CC-BY-SA-4.0"),
        ("<meta name='copyright' content='Gazeti la Mfano'><p>Haki zote zimehifadhiwa", None),
        (f"<footer><p>Kazi hii ina leseni ya <a href='{BY}'>Creative Commons</a></p></footer>", "CC-BY-4.0"),
        ("<p>Text is available under the license <a href='/haki'>CC BY-SA 4.0</a></p>", "CC-BY-SA-4.0"),
        (f"<p>Soma kuhusu <a href='{BY}'>hapa</a></p>", None),
        (f"<figure><img><figcaption>Leseni: <a href='{BY}'>CC BY 4.0</a></figcaption></figure>", None),
        (f"<p>Picha: Juma, <a href='{BY}'>Creative Commons</a></p>", None),
        (f"<link rel='license' href='{BY}'><a rel='license' href='{BY.replace('by', 'by-nc')}'>a</a>", None),
        (f"<link rel='license' href='/haki'><p>Leseni <a href='{BY}'>a</a></p>", None),
        (f"<link rel='license' href='{BY}'><p>Leseni <a href='{BY.replace('by', 'by-nc')}'>a</a></p>", "CC-BY-4.0"),
    ],
)
def test_licence_of_a_page(html: str, spdx: str | None) -> None:
    assert license_of(document_fromstring(f"<html><body>{html}</body></html>")) == spdx


def test_licence_of_linked_data() -> None:
    tree = document_fromstring("<p>Habari</p>")
    assert license_of(tree, [BY]) == "CC-BY-4.0"
    assert license_of(tree, [BY, "https://mfano.or.tz/haki"]) is None


@given(st.text(max_size=80))
def test_no_text_raises(text: str) -> None:
    assert license_id(text) is None or license_id(text) == license_id(text.upper())
