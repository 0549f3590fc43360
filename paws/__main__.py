"""``python -m paws``: the command line."""

from paws.cli import main

if __name__ == "__main__":
    main()
