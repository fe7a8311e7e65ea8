"""What a path is where HEAD, or the listing of what is below it, is refused.

Without the right to list, S3 answers 403 for a key that does not exist, and policies may grant
listings of a directory without the right to read its objects. The listing of the directory that
contains the path then tells what the path is.
"""

from __future__ import annotations

import errno
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK

from fsspec_avroglob.filesystem.listing import ObjectLists


class ObjectInfoByListing(ObjectLists):
    """The questions about one path, answered by a listing if the usual request is refused."""

    async def _info(
        self,
        path: str,
        bucket: str | None = None,
        key: str | None = None,
        refresh: bool = False,
        version_id: str | None = None,
    ) -> dict[str, Any]:
        """As s3fs's. If HEAD is refused, a listing tells. Raises HEAD's refusal if it is, too."""
        try:
            return await super()._info(path, bucket, key, refresh, version_id)
        except PermissionError as refusal:
            if version_id is not None:
                raise
            found = await self._listed(self._strip_protocol(path), refusal)
        if not found:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return found

    async def _isdir(self, path: str) -> bool:
        """As s3fs's. If the listing of the directory is refused, that of its parent tells."""
        try:
            return await super()._isdir(path)
        except PermissionError as refusal:
            found = await self._listed(self._strip_protocol(path).rstrip("/"), refusal)
        return found.get("type") == "directory"

    async def _listed(self, path: str, refusal: PermissionError) -> dict[str, Any]:
        """The info of *path* from a listing; empty if there is nothing of that name.

        Raises *refusal* if the listing is refused, too, or is known to be.
        """
        from fsspec_avroglob.glob.lister import Lister
        from fsspec_avroglob.glob.plan import ListingPlan, State
        from fsspec_avroglob.glob.rights import ListingRights, directory_of, is_refusal

        bucket, key, version = self.split_path(path)
        rights = self._rights.setdefault(bucket, ListingRights())
        if (
            not key
            or version
            or not is_refusal(refusal)
            or not rights.allows(directory_of(key), "/")
        ):
            raise refusal
        state: State = (_segments(key),)
        plan = ListingPlan(bucket, state, path)
        matches = self._matches(plan, True, DEFAULT_CALLBACK)
        lister: Lister = self._lister(plan, matches.add, detail=True)
        try:
            await lister.run()
        except PermissionError:
            raise refusal from refusal.__cause__
        by_kind = {info["type"]: info for info in matches.infos() if info["name"] == path}
        found: dict[str, Any] = by_kind.get("file") or by_kind.get("directory") or {}
        return found


def _segments(key: str) -> Any:
    """The branch of the automaton that matches *key* alone."""
    from fsspec_avroglob.glob.pattern import Segment
    from fsspec_avroglob.glob.tokens import Text

    return tuple(Segment((Text(name),) if name else ()) for name in key.split("/"))
