"""Entry point of ``python -m keyneurons``."""

from keyneurons.cli.main import main

if __name__ == "__main__":
    main()
