"""What counts as a credential in an address, and what does not."""

from __future__ import annotations

import pytest

from embermill.credentials import has_credentials, is_signed, lacks_signature, without_credentials, without_signature

SHOWN = [
    ("s3://user:pw@bucket/x", "s3://…@bucket/x", True),
    ("s3://AKIA:ab/c+d@bucket/k", "s3://…@bucket/k", True),
    ("s3://name@bucket/k", "s3://…@bucket/k", True),
    ("abfss://me:pw@account/x", "abfss://…@account/x", True),
    ("abfss://container@account.dfs.core.windows.net/x", None, False),
    ("http://HEAD:8265/a@b", None, False),
    ("s3://bucket/mail/a@b.com", None, False),
    ("two: 's3://u:p@b/1', 's3://u:p@b/2'", "two: 's3://…@b/1', 's3://…@b/2'", False),
    ("postgres:me:pw@host/db", "…@host/db", False),
    ("https://store/x?version=3&X-Amz-Signature=ab&sig=cd#e", "https://store/x?version=3&X-Amz-Signature=…&sig=…#e", False),
    ("row 3: expected a=b, got key=value", None, False),
]


@pytest.mark.parametrize(("text", "shown", "refused"), SHOWN)
def test_without_credentials(text: str, shown: str | None, refused: bool) -> None:
    assert (without_credentials(text), has_credentials(text)) == (text if shown is None else shown, refused)


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://store/x?version=3&X-Amz-Signature=ab&sig=cd#e", "https://store/x?version=3&X-Amz-Signature=…&sig=…#e"),
        ("https://store/x?version=3", None),
        ("https://store/x?version=3&sig=", None),
        ("/data/part-?key=1/*.parquet", None),
        ("/data/name:of@a file", None),
        ("package:name/sub", None),
    ],
)
def test_signatures(address: str, kept: str | None) -> None:
    assert without_signature(address) == (kept or address) and is_signed(address) == (kept is not None) and not lacks_signature(address)
    assert lacks_signature(without_signature(address)) == (kept is not None)
