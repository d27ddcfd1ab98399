"""Secrets leave a text; what helps to understand it stays."""

import pytest

from dancecli.core.redaction import redact, redact_command


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("http://user:pa55@host:9/a.tar?X-Amz-Signature=S3CRET&x=1: gone", "http://***@host:9/a.tar?***"),
        ("'https://tok3n@host/a'", "'https://***@host/a'"),
        ("Authorization: Bearer S3CRETS3CRET", "Authorization: ***"),
        ("{'Cookie': 'SID=S3CRET; x=pa55'}", "Cookie"),
        ("youtube:po_token=web.gvs+S3CRET;player_client=web", "player_client=web"),
        ("--password=pa55 --username me", "--username me"),
        ("socks5://user:pa55@proxy:1080", "socks5://***@proxy:1080"),
        ("got bearer S3CRETS3CRET back", "got bearer *** back"),
        ("https://host/watch#access_token=S3CRET", "https://host/watch?***"),
    ],
)
def test_secrets_are_replaced(text: str, kept: str) -> None:
    found = redact(text)
    assert kept in found
    assert not any(secret in found for secret in ("S3CRET", "pa55", "tok3n"))


@pytest.mark.parametrize("text", ["HTTP Error 403: Forbidden", "http://host/a/b.mp4: 3 of 9 bytes", "a = b"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("mysql://me:pa55@host/db", "mysql://***@host/db"),
        (
            "--storage=mysql+pymysql://me:p/a?S3CRET#@pa55@host:3306/db",
            "--storage=mysql+pymysql://***@host:3306/db",
        ),
        ("postgresql://host/db?user=me&password=pa55", "postgresql://host/db?***"),
        ("https://host/w.pth?Signature=S3CRET", "https://host/w.pth?***"),
        ("--lr=0.1", "--lr=0.1"),
        ("sqlite:////data/basic training/password=1.db", "sqlite:////data/basic training/password=1.db"),
        ("ray://host:10001", "ray://host:10001"),
        ("me@host:data?/x#1.toml", "me@host:data?/x#1.toml"),
    ],
)
def test_a_command_line_is_stored_without_passwords_and_else_as_it_is(word: str, kept: str) -> None:
    assert redact_command(["dance", word]) == ["dance", kept]
