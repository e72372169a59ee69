"""Files in an Azure Blob storage account as a filesystem that raises our errors."""

import asyncio
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from adlfs.spec import AzureBlobFile, AzureBlobFileSystem
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob.aio import BlobClient, BlobServiceClient, ExponentialRetry
from fsspec.asyn import sync, sync_wrapper

from blocks.azure_identity import CODE, safe_text
from freight.errors import SourceError

COPY_LOOK_S = 1.0
BLOCK_BYTES = 8 << 20  # of a file in memory; the default is 50 MiB

# Statuses that the filesystem handles itself: a file is missing, has changed, or is empty.
EXPECTED = (404, 412, 416)
REFUSED = (401, 403)
NO_CONTAINER = "ContainerNotFound"


def client_options() -> dict[str, Any]:
    """Return the time limits for Azure; they bridge an outage of about 20 s, and the next run handles longer ones."""
    return {"connection_timeout": 10, "read_timeout": 60, "initial_backoff": 2, "retry_total": 3}


class DropFileSystem(AzureBlobFileSystem):  # type: ignore[misc]
    """The containers of an account, with paths such as `abfs://container/folder/file`.

    It uses names unchanged and caches nothing between calls. It cannot be pickled, since it may hold a key.

    Attributes:
        account_url: The URL of the account.
        remedy: The remedy for a refused login.
    """

    protocol = "abfs"
    cachable = False  # a cached filesystem may have an older key

    def __init__(self, account_url: str, credential: Any, remedy: str, secret: str = "") -> None:
        """Keep the arguments; this sends no request.

        Args:
            account_url: The URL of the account.
            credential: The credential for the login.
            remedy: The remedy for a refused login.
            secret: The key or SAS, which no error may repeat.
        """
        self.account_url, self.remedy, self._secret = account_url, remedy, secret
        super().__init__(credential=credential, use_listings_cache=False, assume_container_exists=True)

    def do_connect(self) -> None:
        """Create the client; the base class would use credentials from the environment."""
        options = client_options()
        self.service_client = BlobServiceClient(
            self.account_url, self.credential, retry_policy=_TranslatingRetry(self, **options), **options
        )

    def split_path(self, path: str, **_: Any) -> tuple[str, str, None]:
        """Return the container, the name inside it, and no version."""
        container, _slash, name = self._strip_protocol(path).partition("/")
        return container, name, None

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """Return container and name; the base class would treat the name as a URL and change it."""
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return path.removeprefix("abfs://").lstrip("/")

    def _open(self, path: str, mode: str = "rb", **options: Any) -> AzureBlobFile:
        return _DropFile(self, path, mode, **{**options, "block_size": BLOCK_BYTES})

    @contextmanager
    def our_errors(self) -> Iterator[None]:
        """Turn Azure's errors into ours."""
        try:
            yield
        except ResourceNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        except ClientAuthenticationError as error:
            raise self.refused(safe_text(error, self._secret)) from None
        except AzureError as error:
            raise SourceError(
                "unreadable",
                f"{self.account_url} does not answer: {safe_text(error, self._secret)}",
                remedy="check the network and the account; the next run tries again",
            ) from None

    def refused(self, why: str) -> SourceError:
        """Return the error for a refused login."""
        return SourceError("unreadable", f"{self.account_url} refuses the login: {why}", remedy=self.remedy)

    def mv(self, path1: str, path2: str, etag: str = "", **_: Any) -> None:
        """Move a file within the account, in an ETag's version: copy it, then delete it when the copy is complete."""
        sync(self.loop, self._move, path1, path2, etag)

    async def _move(self, path1: str, path2: str, etag: str) -> None:
        source, target = (self.service_client.get_blob_client(*self.split_path(path)[:2]) for path in (path1, path2))
        try:
            copy = await target.start_copy_from_url(
                source.url, source_etag=etag, source_match_condition=MatchConditions.IfNotModified
            )
            status = str(copy["copy_status"])
            while status == "pending":
                await asyncio.sleep(COPY_LOOK_S)
                status = str((await target.get_blob_properties()).copy.status)
            if status != "success":
                raise SourceError("unreadable", f"its copy ended as {status}", remedy="check the account")
            await self.delete_copied(source, etag)
        except ResourceModifiedError:
            raise SourceError("changed_while_reading", "it has changed", remedy="none: the next run loads it") from None
        except ResourceNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path1) from None

    async def delete_copied(self, source: BlobClient, etag: str) -> None:
        """Delete a copied file, if it is still the version that was copied."""
        await source.delete_blob(etag=etag, match_condition=MatchConditions.IfNotModified)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a filesystem that may hold a key cannot be pickled")


class _DropFile(AzureBlobFile):  # type: ignore[misc]
    """A file for reading; a response that breaks off counts as a fault of the account."""

    async def _read_range(self, start: int, end: int | None = None, **_: Any) -> bytes:
        with self.fs.our_errors():
            return bytes(await self._async_fetch_range(start, end))

    _fetch_range = sync_wrapper(_read_range)


class _TranslatingRetry(ExponentialRetry):
    """Retries requests that may succeed the next time, and turns responses into our errors."""

    def __init__(self, drop: DropFileSystem, **options: Any) -> None:
        super().__init__(**options)
        self._drop = drop

    async def send(self, request: Any) -> Any:  # type: ignore[override]
        """Send a request.

        Raises:
            SourceError: The account does not answer, refuses the login, or has no such container.
        """
        with self._drop.our_errors():
            response = await super().send(request)  # type: ignore[no-untyped-call]
        self._refuse_faults(response.http_response)
        return response

    def _refuse_faults(self, response: Any) -> None:
        status, code = response.status_code, response.headers.get("x-ms-error-code", "")
        code = code if CODE.fullmatch(code) else ""
        if code == NO_CONTAINER:
            raise SourceError(
                "missing",
                f"{self._drop.account_url} has no such container",
                remedy="create the container, or correct the location in the catalog",
            )
        if status in REFUSED:
            raise self._drop.refused(f"{status} {code}")
        if status >= 400 and status not in EXPECTED:
            raise SourceError(
                "unreadable",
                f"{self._drop.account_url} answers {status} {code}",
                remedy="check the account; the next run tries again",
            )
