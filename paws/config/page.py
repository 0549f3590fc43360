"""docs/options.md: every key of a card and every option of a fit, as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import BaseModel

from paws.config.fields import Key, described
from paws.config.options import OPTIONS
from paws.config.schema import Config

HEAD = """# Options

`python -m paws schema --markdown` prints this page from the code that reads the options; a test holds the two together.

## A fit

Options of `paws fit` (`image_size` is `--image-size` there), of `paws.fit(images, labels, run, ...)` in Python, and, as far as
it has them, of `paws.PAWSClassifier`, whose `seed` is called `random_state`.
"""
CARDS = """
## A card

Keys of `paws train CARD`; on the command line `optim.epochs=5`. A card names only what differs from the defaults. The keys of
`recipe` follow its `name`.
"""
COLUMNS = ("type", "default", "bounds", "description")


def options_page(recipes: Mapping[str, type[BaseModel]]) -> str:
    """The page; ``recipes`` are the settings of the training methods by name."""
    parts = [HEAD, table(described(name, field) for name, field in OPTIONS.items()), CARDS, *_sections(Config, "", recipes)]
    return "\n".join(parts)


def _sections(model: type[BaseModel], prefix: str, recipes: Mapping[str, type[BaseModel]]) -> list[str]:
    """A table of the section's own keys, then those of its sections."""
    keys, below = [], []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if prefix + name == "recipe":
            for recipe, settings in recipes.items():
                below += [_heading(f"recipe.name={recipe}", settings), *_sections(settings, "recipe.", recipes)]
        elif isinstance(inner, type) and issubclass(inner, BaseModel):
            below += [_heading(prefix + name, inner), *_sections(inner, f"{prefix}{name}.", recipes)]
        elif prefix + name != "recipe.name":
            keys.append(described(prefix + name, field))
    return [table(keys), *below]


def _heading(title: str, model: type[BaseModel]) -> str:
    return f"\n### {title}\n\n{' '.join((model.__doc__ or '').split())}\n"


def table(keys: Iterable[Key]) -> str:
    """A Markdown table of keys."""
    rows = [("key", *COLUMNS), ("---",) * (1 + len(COLUMNS))]
    rows += [(f"`{key.name}`", key.type, key.default, key.bounds, key.description) for key in keys]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
