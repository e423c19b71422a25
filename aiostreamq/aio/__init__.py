"""Tools for asyncio that know neither jobs nor Redis."""
