"""A shop of several modules, on one Redis: see docs/how-to/structure-your-project.md."""
