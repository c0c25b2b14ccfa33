"""``python -m keyneurons``."""

from keyneurons.main import main

if __name__ == "__main__":
    main()
