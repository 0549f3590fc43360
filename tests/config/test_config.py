"""The schema: what it accepts, and what it says of what it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

import paws.methods  # noqa: F401, their settings are part of a card
from paws.config.cards import load_config
from paws.config.schema import Config
from paws.errors import InputError

CARDS = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.name)
def test_every_card_fits_the_schema_and_says_how_to_run_it(card):
    assert load_config(card).recipe.name
    header = card.read_text().split("\n\n")[0]
    assert "Command:" in header and "Expected:" in header


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.epoch=5", "unknown key optim.epoch; did you mean optim.epochs?"),
        ("optm.lr=5", "unknown key optm; did you mean optim?"),
        ("optim.lr=fast", "optim.lr: .* number"),
        ("optim.epochs=0", "optim.epochs: .*greater than 0"),
        ("recipe.name=pawz", r"recipe: name 'pawz' is not one of .*'paws', 'ropaws', 'simclr_ct', 'snn_finetune'"),
        ("recipe.temprature=1", "did you mean recipe.temperature?"),
        ("recipe.sharpening=3", "recipe.sharpening: .*less than or equal to 1"),
        ("optim.epochs", "write dotted.key=value"),
    ],
)
def test_a_wrong_override_is_named(override, message):
    with pytest.raises(InputError, match=message):
        load_config(None, [override])


def test_all_faults_are_listed_at_once():
    with pytest.raises(InputError) as fault:
        load_config(None, ["optim.lr=-1", "data.workers=-2", "sede=1"])
    assert len(str(fault.value).splitlines()) == 3


def test_labels_are_given_in_one_way_only():
    with pytest.raises(InputError, match="only one of file, per_class, fraction"):
        load_config(None, ["data.labels.per_class=1", "data.labels.fraction=0.1"])


def test_a_missing_or_broken_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such config file; is it"):
        load_config(CARDS[0].with_name(CARDS[0].name.replace(".yaml", "s.yaml")))
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1\n")
    with pytest.raises(InputError, match=r"broken\.yaml"):
        load_config(broken)
    broken.write_text("- 1\n")
    with pytest.raises(InputError, match="mapping"):
        load_config(broken)


def test_yaml_round_trip(tmp_path):
    config = load_config(None, ["optim.epochs=7", "recipe.name=simclr_ct", "views.scale=[0.5,1]"])
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml())
    assert load_config(path) == config != Config()


def test_help_does_not_import_torch():
    code = "import sys; sys.argv = ['paws', '--help']\ntry:\n import paws.cli; paws.cli.main()\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
