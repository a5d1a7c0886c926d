"""`python -m polytask.cli`, as torchrun wants it."""

from polytask.cli import main

if __name__ == "__main__":  # worker processes import this file too
    main()
