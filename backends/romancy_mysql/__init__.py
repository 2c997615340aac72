"""The store on what speaks MySQL's wire: `mysql://` and `mariadb://`, either for either. `engines` has each server.

It needs the driver aiomysql, which comes with `romancy[mysql]`. `_settings` describes the URL's options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from romancy.errors import StorageConfigurationError
from romancy.storage.drivers import check_driver

if TYPE_CHECKING:
    from romancy.storage.protocol import Store
    from romancy.storage.url import StorageURL

__all__ = ["create_store"]


def create_store(url: StorageURL) -> Store:
    """The unopened store for this URL. `StorageConfigurationError` if the URL or the installation is at fault."""
    try:
        # Imported here so that this package, which the search for a backend imports, works without the driver.
        import aiomysql  # noqa: PLC0415
        import pymysql  # noqa: PLC0415

        check_driver("aiomysql", aiomysql.__version__)
        check_driver("PyMySQL", ".".join(map(str, pymysql.VERSION[:3])))
        from romancy_mysql._settings import read_settings  # noqa: PLC0415
        from romancy_mysql._store import MySQLStore  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name not in ("aiomysql", "pymysql"):
            raise
        raise StorageConfigurationError(
            f"storage URL {url}: the driver {error.name} is not installed; pip install 'romancy[mysql]'"
        ) from error
    return MySQLStore(read_settings(url))
