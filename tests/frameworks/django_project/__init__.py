"""A Django project, as its tests run it."""
