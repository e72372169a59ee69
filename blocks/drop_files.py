"""Files in an Azure Blob storage account as a filesystem, with faults that are ours."""

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

from blocks.azure_identity import CODE, told
from freight.errors import SourceError

COPY_LOOK_S = 1.0
BLOCK_BYTES = 8 << 20  # of a file in memory; by default it is 50 MiB

# What the filesystem has an answer to: a file that is not there, has changed, or is empty.
EXPECTED = (404, 412, 416)
REFUSED = (401, 403)
NO_CONTAINER = "ContainerNotFound"


def client_options() -> dict[str, Any]:
    """Return how long Azure may take; a short outage is waited for, about 20 s, and the next run looks after others."""
    return {"connection_timeout": 10, "read_timeout": 60, "initial_backoff": 2, "retry_total": 3}


class DropFileSystem(AzureBlobFileSystem):  # type: ignore[misc]
    """The containers of an account, as `abfs://container/folder/file`.

    Names are taken as they are, and nothing is remembered from one call to the next. It cannot be stored: it may hold
    a key.

    Attributes:
        account_url: where the account is.
        remedy: what to do when it refuses the login.
    """

    protocol = "abfs"
    cachable = False  # a filesystem that was made before may have an older key

    def __init__(self, account_url: str, credential: Any, remedy: str, secret: str = "") -> None:
        """Take the place; nothing is asked yet.

        Args:
            account_url: where the account is.
            credential: logs in.
            remedy: The remedy for a refused login.
            secret: The key or SAS, which no error may repeat.
        """
        self.account_url, self.remedy, self._secret = account_url, remedy, secret
        super().__init__(credential=credential, use_listings_cache=False, assume_container_exists=True)

    def do_connect(self) -> None:
        """Make the client; that of the base class would look into the environment."""
        options = client_options()
        self.service_client = BlobServiceClient(
            self.account_url, self.credential, retry_policy=_ToldRetry(self, **options), **options
        )

    def split_path(self, path: str, **_: Any) -> tuple[str, str, None]:
        """Return the container, the name within it, and no version."""
        container, _slash, name = self._strip_protocol(path).partition("/")
        return container, name, None

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """Return container and name; the base class takes a name for a URL, and changes it."""
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return path.removeprefix("abfs://").lstrip("/")

    def _open(self, path: str, mode: str = "rb", **options: Any) -> AzureBlobFile:
        return _DropFile(self, path, mode, **{**options, "block_size": BLOCK_BYTES})

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell what an error of Azure means for us."""
        try:
            yield
        except ResourceNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
        except ClientAuthenticationError as error:
            raise self.refused(told(error, self._secret)) from None
        except AzureError as error:
            raise SourceError(
                "unreadable",
                f"{self.account_url} does not answer: {told(error, self._secret)}",
                remedy="look after the network and the account; the next run tries again",
            ) from None

    def refused(self, why: str) -> SourceError:
        """Return the error of a login that the account refuses."""
        return SourceError("unreadable", f"{self.account_url} refuses the login: {why}", remedy=self.remedy)

    def mv(self, path1: str, path2: str, etag: str = "", **_: Any) -> None:
        """Move a file of the account, the version of an ETag: it is copied, and deleted when the copy is whole."""
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
                raise SourceError("unreadable", f"its copy ended as {status}", remedy="look after the account")
            await self.delete_copied(source, etag)
        except ResourceModifiedError:
            raise SourceError("changed_while_reading", "it has changed", remedy="none: the next run loads it") from None
        except ResourceNotFoundError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path1) from None

    async def delete_copied(self, source: BlobClient, etag: str) -> None:
        """Delete a file whose copy is whole, if it is still the one that was copied."""
        await source.delete_blob(etag=etag, match_condition=MatchConditions.IfNotModified)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a filesystem that may hold a key is not written anywhere")


class _DropFile(AzureBlobFile):  # type: ignore[misc]
    """A file that is read; an answer that breaks off is a fault of the place."""

    async def _read_range(self, start: int, end: int | None = None, **_: Any) -> bytes:
        with self.fs.told():
            return bytes(await self._async_fetch_range(start, end))

    _fetch_range = sync_wrapper(_read_range)


class _ToldRetry(ExponentialRetry):
    """Sends again what may succeed the next time, and tells what an answer means for us."""

    def __init__(self, drop: DropFileSystem, **options: Any) -> None:
        super().__init__(**options)
        self._drop = drop

    async def send(self, request: Any) -> Any:  # type: ignore[override]
        """Send a request.

        Raises:
            SourceError: the account does not answer, refuses the login, or has no such container.
        """
        with self._drop.told():
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
                remedy="make the container, or correct the location in the catalog",
            )
        if status in REFUSED:
            raise self._drop.refused(f"{status} {code}")
        if status >= 400 and status not in EXPECTED:
            raise SourceError(
                "unreadable",
                f"{self._drop.account_url} answers {status} {code}",
                remedy="look after the account; the next run tries again",
            )
