"""Buckets that refuse newer checksums work by default; a setting against it is named, credentials are not blamed."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from tests.support.artifacts import FILES, publish_small_artifact
from tests.support.checksum_proxy import ChecksumProxy, Refusal

REQUEST, RESPONSE = "AWS_REQUEST_CHECKSUM_CALCULATION", "AWS_RESPONSE_CHECKSUM_VALIDATION"
REFUSALS = {
    "MinIO and B2": Refusal(501, "NotImplemented", "A header you provided is not implemented"),
    "R2": Refusal(401, "Unauthorized", "Unauthorized"),
    "signature": Refusal(403, "SignatureDoesNotMatch", "The request signature we calculated does not match"),
    "GCS": Refusal(400, "InvalidArgument", "Invalid argument."),
}


@contextmanager
def refusing(monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> Iterator[ChecksumProxy]:
    """A real S3 server that refuses headers, as the server of this process."""
    with ChecksumProxy(os.environ["AWS_ENDPOINT_URL"], refusal) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        S3FileSystem.clear_instance_cache()  # clients are kept although the environment has changed
        yield proxy
    S3FileSystem.clear_instance_cache()


@pytest.fixture(params=REFUSALS)
def bucket(
    request: pytest.FixtureRequest, s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ChecksumProxy]:
    """A server that refuses checksums of requests in one of these ways."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with refusing(monkeypatch, REFUSALS[request.param]) as proxy:
        yield proxy


def test_such_a_bucket_is_a_store_by_default(bucket: ChecksumProxy, s3: str) -> None:
    """Artifacts and leases are written and read, and no header is refused."""
    store = Store(s3)
    store.check_writable()
    manifest = publish_small_artifact(store)
    payload = store.payload(manifest.path)
    assert {file.name: file.read_bytes() for file in payload.iterdir()} == FILES
    assert store.side_files.create(b"1", "leases", "x.json") is True
    assert store.side_files.create(b"2", "leases", "x.json") is False
    assert bucket.refused == []


def test_the_setting_that_helps_is_named_instead_of_the_credentials(
    bucket: ChecksumProxy, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, after a probe that the bucket has accepted and of which nothing is left; with it the store works."""
    monkeypatch.setenv(REQUEST, "when_supported")
    store = Store(s3)
    with pytest.raises(RequestError) as refusal:
        store.check_writable()
    message = str(refusal.value)
    assert "refuses S3's newer checksums" in message
    assert f"set {REQUEST}=when_required" in message
    assert RESPONSE not in message
    assert "credentials" not in message
    assert "\n" not in message
    assert bucket.refused
    assert store.backend.files("") == {}
    monkeypatch.setenv(REQUEST, "when_required")
    S3FileSystem.clear_instance_cache()
    Store(s3).check_writable()


@pytest.mark.parametrize("way", ["R2", "MinIO and B2"])
def test_a_bucket_that_refuses_to_send_checksums_has_its_own_setting(
    s3: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A read with `x-amz-checksum-mode`; the setting of uploads is not blamed."""
    with refusing(monkeypatch, REFUSALS[way]._replace(headers=("x-amz-checksum-mode",))) as proxy:
        Store(s3).check_writable()
        monkeypatch.setenv(RESPONSE, "when_supported")
        with pytest.raises(RequestError, match=f"set {RESPONSE}=when_required;"):
            Store(s3).check_writable()
        assert {line.split(" ")[0] for line in proxy.refused} == {"GET"}


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
def test_wrong_credentials_are_blamed_whatever_is_set(s3: str, monkeypatch: pytest.MonkeyPatch, checksums: str) -> None:
    """A bucket that refuses the probe as well does not refuse checksums."""
    monkeypatch.setenv(REQUEST, checksums)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    S3FileSystem.clear_instance_cache()
    with pytest.raises(RequestError, match="refuses these credentials") as refusal:
        Store(s3).check_writable()
    assert "checksum" not in str(refusal.value)
