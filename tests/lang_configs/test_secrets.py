"""Secrets of addresses and folders of machines: what is left of a text, and that nothing else of it changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lang_configs import ConfigError
from lang_configs.secrets import without_folders, without_secrets
from lang_configs.sources import HubSource, WebSource, WikipediaSource
from tasks.core.errors import StageError

ADDRESSES = {
    "https://juma:siri@example.org/a": "https://example.org/a",
    "https://juma@example.org/a": "https://example.org/a",
    "https://:siri@example.org": "https://example.org",
    "https://juma@ofisi.example:siri@example.org/a?b=1": "https://example.org/a?b=1",
    "https://juma:si/ri@example.org/a": "https://example.org/a",
    "https://juma:si#ri@example.org/a": "https://example.org/a",
    "https://juma:si?ri@example.org/a": "https://example.org/a",
    "https://juma:%73iri@example.org/a": "https://example.org/a",
    "HTTPS://Juma:siri@EXAMPLE.org/a": "HTTPS://EXAMPLE.org/a",
    "s3://AKIA:siri@bucket/a": "s3://bucket/a",
    "//juma:siri@example.org/a": "//example.org/a",
    "https://example.org/a?token=siri": "https://example.org/a",
    "https://example.org/a?token=siri&b=1": "https://example.org/a?b=1",
    "https://example.org/a?b=1&token=siri": "https://example.org/a?b=1",
    "https://example.org/a?b=1&TOKEN=siri#c": "https://example.org/a?b=1#c",
    "https://example.org/a?access_token=siri": "https://example.org/a",
    "https://example.org/a?private-token=siri": "https://example.org/a",
    "https://example.org/a?X-Amz-Signature=siri&X-Amz-Credential=siri&X-Amz-Security-Token=siri&list=2": "https://example.org/a?list=2",
    "https://example.org/a?x%2Damz%2Dsignature=siri": "https://example.org/a",
    "https://example.org/a?AWSAccessKeyId=siri&Signature=siri&Expires=5": "https://example.org/a?Expires=5",
    "https://example.org/a?X-Goog-Signature=siri": "https://example.org/a",
    "https://account.blob.example/a?sv=2024-01-01&sig=siri%3D": "https://account.blob.example/a?sv=2024-01-01",
    "https://example.org/a?api_key=siri": "https://example.org/a",
    "https://example.org/a?apikey=siri": "https://example.org/a",
    "https://example.org/a?key=AIzaSyA0123456789abcdefghijk": "https://example.org/a",
    "https://example.org/a?password=siri&pwd=siri&pass=siri": "https://example.org/a",
    "https://example.org/a?client_secret=siri": "https://example.org/a",
    "https://example.org/a?auth=siri&jwt=siri": "https://example.org/a",
    "https://example.org/a;jsessionid=siri?b=1": "https://example.org/a?b=1",
    "https://example.org/a?PHPSESSID=siri": "https://example.org/a",
    "https://example.org/a#access_token=siri&state=1": "https://example.org/a#state=1",
    "https://example.org/a?u=https%3A%2F%2Fjuma%3Asiri%40b.example%2F": "https://example.org/a",
    "sources: https://juma:siri@a.example/ and https://b.example/?sig=siri: gave nothing": (
        "sources: https://a.example/ and https://b.example/: gave nothing"
    ),
    '["https://juma:siri@a.example"]': '["https://a.example"]',
}
UNCHANGED = [
    *("https://example.org/@juma/a", "http://example.org:8080/@juma", "https://example.org/?author=Juma&authority=1"),
    *("https://example.org/?key=neno&session=12", "http://[::1]:80/a@b", "juma@example.org", "a//b", "Habari za leo", ""),
    *(
        "https://example.org/?q=a%26token",
        "https://example.org/?tokeni",
        "mailto:juma@example.org",
        "https://example.org/?a=1;b=2",
    ),
]
PATHS = {
    "/home/juma/maandishi/a.jsonl": "a.jsonl",
    "/home/juma/*.jsonl": "*.jsonl",
    "~/maandishi/a.jsonl": "a.jsonl",
    "~juma/a.txt": "a.txt",
    "../juma/a.txt": "a.txt",
    "./a.txt": "a.txt",
    "C:\\Users\\juma\\a.txt": "a.txt",
    "c:/Users/juma/a.txt": "a.txt",
    "\\\\seva\\juma\\a.txt": "a.txt",
    "file:///home/juma/a.html": "file:a.html",
    "file:a.jsonl#3": "file:a.jsonl#3",
    **{
        same: same
        for same in ("HuggingFaceFW/fineweb-2", "data/{config}/*.parquet", "https://example.org/a", "\\n", "neno", "")
    },
}


@pytest.mark.parametrize(("text", "kept"), [*ADDRESSES.items(), *((text, text) for text in UNCHANGED)])
def test_an_address_loses_its_secrets_and_nothing_else(text: str, kept: str) -> None:
    assert without_secrets(text) == kept
    assert "siri" not in kept


@pytest.mark.parametrize(("path", "kept"), PATHS.items())
def test_a_path_of_this_machine_becomes_a_name(path: str, kept: str) -> None:
    assert without_folders(path) == kept


@given(st.text(), st.text())
def test_any_text_is_taken_and_what_is_left_stays(left: str, right: str) -> None:
    for text in (left, f"https://{left}", f"https://a.example/?{left}={right}", f"//{left}@{right}"):
        once = without_secrets(text)
        assert without_secrets(once) == once or "//" in once[3:]  # a nested address may need another look
        assert without_folders(text) is not None


@given(st.text(st.characters(codec="utf-8", exclude_characters='/?#@"<> ', exclude_categories=("Z", "C")), min_size=4))
def test_whatever_the_password_is(password: str) -> None:
    for text in (
        f"https://juma:{password}@example.org/a?b=1",
        f"https://example.org/a?b=1&token={password.replace('&', '').replace(';', '')}",
    ):
        assert without_secrets(text) == "https://example.org/a?b=1" or password[-1] in ":;,.!)]}'"


def test_what_is_written_of_a_config_and_said_of_a_mistake_holds_none() -> None:
    web = WebSource(sites=["https://juma:siri@example.org/?token=siri"])
    assert web.sites == ["https://juma:siri@example.org/?token=siri"]  # it is fetched as it is
    for written in (web.model_dump(mode="json"), web.model_dump()):
        assert written["sites"] == ["https://example.org/"]
    assert "siri" not in web.model_dump_json() + WikipediaSource(wiki="swwiki", dump="https://a:siri@b/c").model_dump_json()
    assert "siri" not in HubSource(dataset="https://a:siri@b/c").model_dump_json()
    for error in (ConfigError, StageError):
        assert str(error("https://juma:siri@example.org/a: no")) == "https://example.org/a: no"
