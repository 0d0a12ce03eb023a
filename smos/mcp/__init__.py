"""The MCP providers of the platform: are their credentials in Vault, complete, and do they work."""
