"""Take secrets out of texts before they are stored or shown.

Addresses keep their scheme, host, port and path; what may authorize somebody (user and password,
the values of a query, a fragment) is replaced. Header and `key=value` forms of tokens, cookies and
passwords are replaced wherever they stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_MASK = "***"
_USER_INFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#@]*(?::[^\s/?#]*)?@")
# In a word of its own nothing follows the address: a password may hold what would end it in running text.
_USER_INFO_OF_WORD = re.compile(r"(?is)([a-z][a-z0-9+.-]*://)(?:[^/?#@]*|[^/?#@:]*:.*)@")
# Up to what ends an address in running text: a blank, a quote, a bracket.
_QUERY = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s\"'<>?#]+)[?#][^\s\"'<>]*")
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization|cookie|set-cookie|x-goog-[a-z-]+|x-amz-[a-z-]+|x-api-key)"
    r"(\s*[:=]\s*|['\"]\s*:\s*['\"]?)[^\r\n'\"]+"
)
_PAIR = re.compile(
    r"(?i)\b([a-z_-]*(?:password|passwd|secret|signature|token|credential|api_?key|access_?key|visitor_data|sid))"
    r"(\s*=\s*|['\"]\s*:\s*['\"]?)[^\s&;,'\"]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}")


def redact(text: str) -> str:
    """Give a text without passwords, tokens, cookies and the queries of addresses.

    Example: `http://user:pa55@host/a.tar?X-Amz-Signature=1` becomes `http://***@host/a.tar?***`.
    """
    text = _USER_INFO.sub(rf"\1{_MASK}@", text)
    text = _QUERY.sub(rf"\1?{_MASK}", text)
    text = _HEADER.sub(rf"\1\2{_MASK}", text)
    text = _PAIR.sub(rf"\1\2{_MASK}", text)
    return _BEARER.sub(rf"\1 {_MASK}", text)


def redact_word(word: str) -> str:
    """Give a word of a command line without the password and the query of the address in it.

    Example: `--storage=mysql://me:pa/55@host/db` becomes `--storage=mysql://***@host/db`.
    """
    return _QUERY.sub(rf"\1?{_MASK}", _USER_INFO_OF_WORD.sub(rf"\1{_MASK}@", word))


def redact_command(words: Iterable[str]) -> list[str]:
    """Give the words of a command line as they may be stored; see `redact_word`."""
    return [redact_word(word) for word in words]
