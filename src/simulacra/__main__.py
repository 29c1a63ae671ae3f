"""``python -m simulacra``."""

from simulacra.cli.main import main

if __name__ == "__main__":
    main()
