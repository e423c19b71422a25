"""The live view of `aiostreamq top`."""
