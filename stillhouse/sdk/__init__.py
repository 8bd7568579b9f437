"""The Python client, sync and async: profiles and jobs for clients and operators, central models
for owners. Errors are those of `stillhouse.errors`, by the problem's code.
"""

from stillhouse.sdk.asynchronous import AsyncStillhouse
from stillhouse.sdk.calls import OVER, PART_BYTES, Measured, Version
from stillhouse.sdk.sync import Stillhouse

__all__ = ["OVER", "PART_BYTES", "AsyncStillhouse", "Measured", "Stillhouse", "Version"]
