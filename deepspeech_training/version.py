"""The version of the package, read by pyproject.toml, the banner and every checkpoint."""

VERSION = "0.1.0"
