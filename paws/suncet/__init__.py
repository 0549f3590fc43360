"""The formats of the published code (facebookresearch/suncet): configs and checkpoints. No other module knows them."""

from paws.suncet.checkpoints import (
    PUBLISHED,
    Published,
    fetch,
    read_checkpoint,
    write_checkpoint,
)
from paws.suncet.configs import card_text, convert_config, is_suncet_config, load_card, recipe_of, without_gpu

__all__ = [
    "PUBLISHED",
    "Published",
    "card_text",
    "convert_config",
    "fetch",
    "is_suncet_config",
    "load_card",
    "read_checkpoint",
    "recipe_of",
    "without_gpu",
    "write_checkpoint",
]
