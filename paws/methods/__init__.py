"""Ways to train an encoder, one file each: a subclass of ``Method`` that is defined, here or elsewhere, is in the table."""

from importlib import import_module
from pkgutil import iter_modules

from paws.methods.base import Method, method, table

__all__ = ["Method", "method", "table"]

for _file in iter_modules(__path__):
    import_module(f"paws.methods.{_file.name}")
