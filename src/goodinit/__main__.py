"""Run the command line as `python -m goodinit`, where no entry point is installed."""

from goodinit.cli.main import main

if __name__ == "__main__":
    main()
