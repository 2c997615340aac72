from io import BytesIO
from typing import ClassVar

from fsspec import AbstractFileSystem

class MemoryFileSystem(AbstractFileSystem):
    store: ClassVar[dict[str, BytesIO]]
    pseudo_dirs: ClassVar[list[str]]
