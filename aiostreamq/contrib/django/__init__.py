"""Django 6: a backend of its tasks framework, `django.tasks`, and the queue of its workers."""

from aiostreamq.contrib.django.backend import AioStreamQBackend

__all__ = ["AioStreamQBackend"]
