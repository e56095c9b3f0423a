"""The version, which `pyproject.toml` has too (a test compares them), and what is said of it."""

__all__ = ["USER_AGENT", "__version__"]

__version__ = "0.1.0"

# Discord docs, "User Agent": required by the API, and wanted on the websocket upgrade by what
# stands in front of the gateway (discord-api-docs#2500).
USER_AGENT = f"DiscordBot (https://github.com/fastgw/fastgw, {__version__})"
