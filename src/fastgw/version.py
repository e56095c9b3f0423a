"""The version; `pyproject.toml` has it too, and a test compares them."""

__all__ = ["__version__"]

__version__ = "0.1.0"
