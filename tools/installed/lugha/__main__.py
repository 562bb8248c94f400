"""The command `lugha`, and `python -m lugha`."""

from flows.cli import main

if __name__ == "__main__":
    main()
