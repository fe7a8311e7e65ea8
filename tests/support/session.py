"""A botocore session for many filesystems: reading service descriptions is what a client costs."""

from __future__ import annotations

from aiobotocore.session import AioSession

SESSION = AioSession()
