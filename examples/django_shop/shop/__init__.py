"""A Django project with tasks; docs/how-to/django.md explains it."""
