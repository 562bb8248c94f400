from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline import rows, run, texts

from lang_configs.schema import Clean
from tasks.clean import clean, clean_text, phone_pattern

EAST_AFRICA = phone_pattern([254, 255, 256, 250, 257])


@pytest.mark.parametrize(
    ("dirty", "expected"),
    [
        ("Habari\u00a0za \t leo", "Habari za leo"),
        ("moja\r\nmbili\rtatu", "moja\nmbili\ntatu"),
        ("aya\n \n\n\naya", "aya\n\naya"),
        ("e\u0301", "\u00e9"),
        ("wa\u00adtoto wa\u200b\ufeffnne", "watoto wanne"),
        ("Tom &amp; Jerry &#39;leo&#x27; &nbsp;kesho", "Tom & Jerry 'leo' kesho"),
        ("AT&T; R&D", "AT&T; R&D"),
        ("\u2581neno\u2581\u2581lingine", "neno lingine"),
        ("ሰላም\u1361ለዓለም።", "ሰላም\u1361ለዓለም።"),
        ("ki\u200dswa", "ki\u200dswa"),
        ("  \n\x00\n ", ""),
    ],
)
def test_unicode_and_white_space(dirty: str, expected: str) -> None:
    assert clean_text(dirty)[0] == expected


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200))
def test_cleaning_is_nfc_and_idempotent(text: str) -> None:
    once = clean_text(text, EAST_AFRICA)[0]
    assert unicodedata.is_normalized("NFC", once)
    assert "\r" not in once
    assert "\u2581" not in once
    # an entity may resolve to the start of another one: `&amp;lt;` is the text `&lt;`, and stays it
    if "&" not in once:
        assert clean_text(once, EAST_AFRICA)[0] == once


@pytest.mark.parametrize(
    "text",
    [
        "Piga simu 0712 345 678 leo",
        "Piga +254712345678",
        "WhatsApp +255 754 123 456",
        "simu: 0754-123-456",
        "Namba 255754123456",
        "+254 722-000-118",
        "Simu 020 2222 222",
        "00255 754 000 111",
    ],
)
def test_phone_numbers_are_masked(text: str) -> None:
    cleaned, _, phones = clean_text(text, EAST_AFRICA)
    assert phones == 1
    assert not any(character.isdigit() for character in cleaned)


@pytest.mark.parametrize(
    "text",
    [
        "mwaka 1963-2020", "Sh 1,500,000 bilioni 2.5", "Aya 119:105", "ISBN 978-9966-46-123-4", "tarehe 01.02.2026",
        "0,712345678", "kura 255754", "2026-11-21 09:30", "0712/345/6789",
    ],
)  # fmt: skip
def test_other_numbers_stay(text: str) -> None:
    assert clean_text(text, EAST_AFRICA)[0] == text


@pytest.mark.parametrize("address", ["juma@example.co.ke", "Juma.Ali+kazi@gmail.com", "a_b-c@mail.example.museum"])
def test_email_addresses_are_masked(address: str) -> None:
    assert clean_text(f"Andika kwa {address}, asante.") == ("Andika kwa [email], asante.", 1, 0)


def test_handles_are_no_email_addresses() -> None:
    assert clean_text("RT @simba_sc: mechi @ 4pm")[1] == 0


def test_the_stage_keeps_ids_counts_masks_and_leaves_out_repeated_rows(tmp_path: Path) -> None:
    raw = texts(tmp_path / "raw", "Simu  0712 345 678", "barua: a@example.org", "\u200b")
    copy = texts(tmp_path / "copy", "Simu  0712 345 678")
    out = tmp_path / "out"
    metrics = run(clean, out, Clean(phone_countries=[255]), {"a": raw, "b": copy})
    assert [row["text"] for row in rows(out)] == ["Simu [phone]", "barua: [email]", ""]
    assert [row["id"] for row in rows(out)] == [row["id"] for row in rows(raw)]
    assert [row["bytes"] for row in rows(out)] == [12, 14, 0]
    expected = {"documents": 3, "phones": 1, "emails": 1, "empty": 1, "repeated": 1, "changed": 3}
    assert {key: metrics[key] for key in expected} == expected


def test_masking_can_be_switched_off(tmp_path: Path) -> None:
    raw = texts(tmp_path / "raw", "0712 345 678 a@example.org")
    run(clean, tmp_path / "out", Clean(phone_countries=[255], mask_email=False, mask_phone=False), {"a": raw})
    assert rows(tmp_path / "out")[0]["text"] == "0712 345 678 a@example.org"
