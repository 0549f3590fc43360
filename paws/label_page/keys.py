"""The key that gives a picture its class, in the page."""

from __future__ import annotations

from collections.abc import Sequence

FREE = "123456789abcdefhijklmopqrstvwyz"  # keys of classes, in their order
MEANT = "gnux"  # letters that mean something else: `page/label.js`, `page/confirm.js`


def keys_of(classes: Sequence[str]) -> dict[str, str]:
    """The key of each class by its name: a name of one sign is its own, the others get those that are left, in their order.

    Classes for which none is left have "".
    """
    signs = {name.lower() for name in classes} & {"0", *FREE}
    left, found = iter([key for key in FREE if key not in signs]), {}
    for name in classes:
        own = name.lower()
        found[name] = own if own in signs else next(left, "")
        signs.discard(own)  # of "A" and "a" the first has it
    return found
