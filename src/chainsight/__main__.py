"""`python -m chainsight` is the command `chainsight`."""

from chainsight.cli import main

if __name__ == "__main__":
    main()
