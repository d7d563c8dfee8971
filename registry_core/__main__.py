"""`python -m registry_core` is the command `registry-core`."""

from registry_core.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
